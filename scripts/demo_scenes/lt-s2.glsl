vec3 aim() { return vec3(0, .58, 0); }
vec2 product(vec3 p) {
  vec2 d = vec2(rod(p - vec3(0, .58, 0), .46, .52, .12), 1.);
  d = join(d, rod(p - vec3(0, 1.095, 0), .36, .012, .01), 2.);
  d = join(d, rod(p - vec3(0, .035, 0), .42, .035, .02), 3.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) {
    float a = atan(p.x, p.z), knit = .5 + .5 * sin(a * 120.) * sin(p.y * 130. + (mod(floor(a * 19.1), 2.) * 1.57));
    vec3 c = mix(vec3(.13, .15, .17), vec3(.27, .30, .33), knit);
    if (p.z > 0.) c = mix(c, vec3(.80), .9 * logo(vec2(a / .42, (p.y - .30) / .21)));
    return Material(c, .04, 0., vec3(0)); }
  if (id < 2.5) {
    float r = length(p.xz), ring = smoothstep(.02, .008, abs(r - .30));
    float key = smoothstep(.012, .004, abs(length(p.xz - vec2(.13, 0)) - .035)) + smoothstep(.012, .004, abs(length(p.xz + vec2(.13, 0)) - .035));
    return Material(vec3(.05) + .5 * key, .55, 0., ring * vec3(.10, .75, .85)); }
  return Material(vec3(.06), .3, 0., vec3(0)); }
