vec3 aim() { return vec3(.12, .84, .05); }
vec2 product(vec3 p) {
  vec2 d = vec2(roundBox(p - vec3(0, .86, 0), vec3(.26, .78, .085), .075), 1.);
  d = join(d, roundBox(p - vec3(0, .90, .078), vec3(.215, .70, .012), .010), 2.);
  d = join(d, rod((p - vec3(0, .40, .115)).xzy, .115, .05, .03), 3.);
  d = join(d, smin(rod((p - vec3(0, .40, .19)).xzy, .075, .07, .02), capsule(p, vec3(0, .40, .235), vec3(.62, .40, .235), .052), .06), 3.);
  d = join(d, torus((p - vec3(0, .72, .092)).xzy, .085, .010), 3.);
  d = join(d, roundBox(p - vec3(0, .035, -.02), vec3(.40, .035, .26), .02), 4.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) return Material(vec3(.30, .31, .33), .55, .85, vec3(0));
  if (id < 2.5) {
    vec2 k = vec2(p.x / .135, (p.y - 1.22) / .15), c = fract(k + .5) - .5, n = floor(k + .5);
    float inside = step(abs(n.x), 1.1) * step(abs(n.y), 1.6), key = smoothstep(.030, .022, abs(length(c) - .27)) * inside;
    float dot_ = smoothstep(.10, .06, length(c)) * inside;
    float finger = p.y < .80 && p.y > .64 ? smoothstep(.30, .5, abs(fract(length(p.xy - vec2(0, .70)) * 60.) - .5)) * smoothstep(.075, .07, length(p.xy - vec2(0, .72))) : 0.;
    float l = logo(vec2(p.x / .16, (p.y - 1.52) / .08));
    return Material(vec3(.022, .024, .028), .85, 0., vec3(.55, .80, .95) * (.75 * dot_ + .22 * key + .35 * finger + .55 * l)); }
  if (id < 3.5) return Material(vec3(.55, .56, .58), .75, .9, vec3(0));
  return Material(vec3(.72, .55, .38), .15, 0., vec3(0)); }
