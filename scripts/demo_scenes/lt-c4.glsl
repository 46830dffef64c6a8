vec3 aim() { return vec3(0, .52, 0); }
vec2 product(vec3 p) {
  vec3 q = p - vec3(0, .55, 0);
  vec2 d = vec2(roundBox(q, vec3(.72, .51, .30), .10), 1.);
  vec3 m = q - vec3(.33, .13, .28);
  d = join(d, roundBox(m, vec3(.30, .30, .12), .09), 2.);
  d = join(d, rod((m - vec3(0, 0, .13)).xzy, .235, .035, .02), 3.);
  vec3 g = m - vec3(0, 0, .02);
  d = join(d, max(length(g - vec3(0, 0, -.10)) - .255, -(g.z - .10)), 4.);
  d = join(d, roundBox(q - vec3(-.30, .12, .298), vec3(.27, .24, .012), .01), 5.);
  d = join(d, rod(q - vec3(-.30, .515, 0), .135, .022, .012), 6.);
  d = join(d, rod(q - vec3(-.30, .54, 0), .05, .006, .004), 7.);
  d = join(d, roundBox(q - vec3(.725, -.02, 0), vec3(.012, .26, .17), .01), 2.);
  vec3 f = vec3(abs(q.x) - .10, q.y + .53, q.z);
  d = join(d, roundBox(f, vec3(.028, .06, .11), .02), 2.);
  return d; }
Material look(float id, vec3 p) {
  vec3 q = p - vec3(0, .55, 0);
  if (id < 1.5) { float l = q.z > .25 ? logo(vec2((q.x + .30) / .26, (q.y + .33) / .13)) : 0., grip = q.x > .05 && q.y < -.16 && q.z > .2 ? smoothstep(.2, .3, abs(fract((q.x + q.y) * 16.) - .5)) : 0.;
    return Material(mix(vec3(.16, .175, .19), vec3(.85), l) * (1. - .45 * grip), .12, 0., vec3(0)); }
  if (id < 2.5) return Material(vec3(.07, .075, .08), .25, 0., vec3(0));
  if (id < 3.5) { float a = length(q.xy - vec2(.33, .13)); return Material(mix(vec3(.85, .38, .10), vec3(.10), step(a, .205)), .5, .3, vec3(0)); }
  if (id < 4.5) { float r = length(q.xy - vec2(.33, .13)); float ring = smoothstep(.010, .0, abs(r - .13)) + smoothstep(.008, .0, abs(r - .075));
    return Material(vec3(.012, .014, .03) + ring * .05, 1., 0., vec3(.02, .01, .05) + vec3(.05, .02, .10) * smoothstep(.12, .03, r)); }
  if (id < 5.5) { float t = display(vec2((q.x + .30) / .24, (q.y - .13) / .24)); vec2 b = abs(vec2(q.x + .46, q.y - .315));
    float dot_ = smoothstep(.020, .014, length(b)); return Material(vec3(.015), .8, 0., vec3(1.) * t * .95 + dot_ * vec3(1.2, .15, .1)); }
  if (id < 6.5) return Material(vec3(.20), .4, 0., vec3(0));
  return Material(vec3(.80, .12, .08), .4, 0., vec3(.15, .0, .0)); }
