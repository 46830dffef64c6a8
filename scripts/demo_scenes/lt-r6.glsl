vec3 aim() { return vec3(0, .68, 0); }
vec3 twist(vec3 p) { p.xz = turn(24. * (p.y - .68)) * p.xz; return p; }
vec2 product(vec3 p) {
  vec3 q = twist(p);
  float taper = 1. - .18 * (p.y - .68);
  vec3 b = vec3(q.x / taper, q.y - .70, q.z / taper);
  vec2 d = vec2(roundBox(b, vec3(.40, .62, .40), .11) * .8, 1.);
  d.x = max(d.x, -(roundBox(b - vec3(0, .62, 0), vec3(.25, .03, .25), .02)) * .8);
  d = join(d, roundBox(b - vec3(0, .585, 0), vec3(.25, .01, .25), .01) * .8, 2.);
  d = join(d, rod(p - vec3(0, .05, 0), .36, .05, .02), 3.);
  d = join(d, roundBox(b - vec3(0, -.42, .402), vec3(.07, .009, .006), .005) * .8, 4.);
  return d; }
Material look(float id, vec3 p) {
  vec3 q = twist(p);
  if (id < 1.5) { float groove = smoothstep(.30, .42, abs(fract(q.y * 13.) - .5)) * step(q.z, -.30);
    float l = q.z > .3 ? logo(vec2(q.x / .22, (p.y - 1.02) / .11)) : 0.;
    return Material(mix(vec3(.91, .92, .93), vec3(.20), max(groove * .7, l * .75)), .5, 0., vec3(0)); }
  if (id < 2.5) { vec2 c = fract(q.xz * 22.) - .5; return Material(mix(vec3(.10, .42, .48), vec3(.02), smoothstep(.36, .28, length(c))), .3, 0., vec3(0)); }
  if (id < 3.5) return Material(vec3(.12, .14, .15), .2, 0., vec3(0));
  return Material(vec3(.9), .3, 0., vec3(1.1, 1.15, 1.2)); }
