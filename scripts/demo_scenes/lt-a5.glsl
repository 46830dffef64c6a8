vec3 aim() { return vec3(0, .86, 0); }
vec2 product(vec3 p) {
  vec2 d = vec2(roundBox(p - vec3(0, .88, 0), vec3(.50, .82, .50), .13), 1.);
  d = join(d, roundBox(p - vec3(0, .05, 0), vec3(.42, .05, .42), .04), 4.);
  d = join(d, rod(p - vec3(0, 1.70, 0), .40, .016, .01), 2.);
  d = join(d, torus(p - vec3(0, 1.705, 0), .41, .014), 5.);
  d = join(d, rod((p - vec3(0, 1.36, .50)).xzy, .16, .008, .006), 3.);
  d = join(d, torus((p - vec3(0, 1.36, .503)).xzy, .175, .010), 6.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) {
    vec2 g = abs(p.z) > abs(p.x) ? p.xy : p.zy;
    vec2 cell = fract(g * 26.) - .5; float hole = smoothstep(.34, .26, length(cell)) * step(abs(g.x), .36) * step(abs(p.y - .60), .40) * step(.38, max(abs(p.x), abs(p.z)));
    float l = p.z > .4 ? logo(vec2(p.x / .20, (p.y - 1.12) / .10)) : 0.;
    return Material(mix(vec3(.92, .925, .93), vec3(.13), max(hole, .8 * l)), .25, 0., vec3(0)); }
  if (id < 2.5) { float a = abs(fract(length(p.xz) * 17.) - .5); return Material(mix(vec3(.05), vec3(.55), smoothstep(.24, .30, a)), .35, 0., vec3(0)); }
  if (id < 3.5) { float t = display(vec2(p.x / .15, (p.y - 1.36) / .15)); return Material(vec3(.03), .8, 0., t * vec3(1.2)); }
  if (id < 4.5) return Material(vec3(.15), .2, 0., vec3(0));
  if (id < 5.5) return Material(vec3(.78, .62, .45), .6, .8, vec3(0));
  return Material(vec3(.2), .4, 0., vec3(.10, .75, .35)); }
