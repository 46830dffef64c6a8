vec3 aim() { return vec3(0, .82, 0); }
vec2 product(vec3 p) {
  vec3 q = vec3(abs(p.x), p.y, p.z);
  vec3 c = q - vec3(.66, .46, 0); c.xy = turn(-7.) * c.xy;
  vec3 e = c.yxz; e.z *= .84;                                        // ear cups: rods along x, narrower from front to back
  vec2 d = vec2(rod(e - vec3(0, .10, 0), .42, .085, .07) * .86, 1.);
  d = join(d, rod(e - vec3(0, .188, 0), .26, .006, .004) * .86, 4.);
  vec3 t = e - vec3(0, -.07, 0);
  d = join(d, torus(t, .29, .115) * .84, 2.);
  d = join(d, rod(t - vec3(0, .06, 0), .36, .05, .03) * .84, 5.);
  vec3 b = p - vec3(0, .93, 0);                                      // headband: upper half of a flattened ring
  float ring = length(b.xy * vec2(1., .92)) - .70, band = max(abs(ring) - .035, abs(b.z) - .13 + .06 * smoothstep(.3, -.2, b.y)) - .018;
  d = join(d, max(band * .85, -b.y - .02), 3.);
  float pad = max(max(abs(ring + .05) - .02, abs(b.z) - .09) - .035, .38 - b.y);
  d = join(d, pad * .85, 2.);
  d = join(d, capsule(q, vec3(.70, .98, 0), vec3(.75, .68, 0), .032), 4.);
  d = join(d, capsule(q, vec3(.75, .70, 0), vec3(.755, .46, .0), .03), 4.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) {
    vec3 c = vec3(.40, .53, .62);
    return Material(c, .32, 0., vec3(0)); }
  if (id < 2.5) return Material(vec3(.17, .20, .23) * (.92 + .08 * sin(p.y * 90.) * sin(p.z * 90.)), .14, 0., vec3(0));
  if (id < 3.5) return Material(mix(vec3(.40, .53, .62), vec3(.92), .85 * logo(vec2(p.x / .26, (length(p.xy - vec2(0, .93)) > .6 ? p.z : 9.) / .20)) * step(1.5, p.y)), .30, 0., vec3(0));
  if (id < 4.5) {
    float l = p.x > .7 ? logo(vec2(-p.z / .17, (p.y - .46) / .09)) : 0.;
    return Material(mix(vec3(.72, .76, .80), vec3(.15), l), .7, .75, vec3(0)); }
  return Material(vec3(.22, .30, .36), .3, 0., vec3(0)); }
