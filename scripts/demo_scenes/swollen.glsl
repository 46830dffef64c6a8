vec3 aim() { return vec3(0, .26, 0); }
vec3 local(vec3 p) { p.xz = turn(-30. + 9. * seed) * p.xz; p.y -= .26; return p; }
float bank(vec3 q) {  // a battery has blown up inside: the flat sides stand out, the edges do not
  float swell = 1. + (.75 + .25 * sin(seed)) * exp(-2.6 * dot(q.xz, q.xz)) ;
  return roundBox(vec3(q.x, q.y / swell, q.z), vec3(.78, .16, .40), .12) * .55; }
vec2 product(vec3 p) {
  vec3 q = local(p);
  vec2 d = vec2(bank(q), 1.);
  float seam = abs(q.y - .02 * sin(5. * q.x)) - .022 * exp(-2. * q.x * q.x);
  d = join(d, max(bank(q) - .004, max(seam, abs(q.x) - .55)), 4.);  // it gapes
  float ports = min(roundBox(q - vec3(.78, 0, -.16), vec3(.03, .035, .085), .03), roundBox(q - vec3(.78, 0, .05), vec3(.03, .035, .085), .03));
  d.x = max(d.x, -ports);
  return join(d, roundBox(q - vec3(.74, 0, .04), vec3(.02, .09, .32), .01), 2.); }
Material look(float id, vec3 p) {
  vec3 q = local(p);
  if (id < 1.5) {
    float l = q.z > .3 ? logo(vec2((q.x + .30) / .28, q.y / .15)) : 0.;
    float burn = smoothstep(.34, .05, length(q.xz - vec2(.25 * sin(seed * 5.), .1))) * step(0., q.y) * step(.5, fract(seed * .37));
    vec3 c = mix(vec3(.06, .20, .27), vec3(.85), .9 * l);
    return Material(mix(c, vec3(.03, .025, .02), burn * (.6 + .4 * noise(q.xz * 18.))), .30, .1, vec3(0)); }
  if (id < 2.5) return Material(vec3(.05), .4, 0., vec3(0));
  return Material(vec3(.02), .1, 0., vec3(0)); }
