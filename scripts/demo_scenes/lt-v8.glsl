vec3 aim() { return vec3(0, .16, .0); }
vec2 product(vec3 p) {
  vec2 d = vec2(rod(p - vec3(0, .20, 0), 1., .145, .05), 1.);
  d.x = max(d.x, -(torus(p - vec3(0, .345, 0), .80, .008)));
  float front = max(abs(length(p.xz) - 1.0) - .022, abs(p.y - .19) - .095) - .012;
  d = join(d, max(front, .1 - p.z), 4.);
  d = join(d, rod(p - vec3(0, .40, -.28), .26, .075, .03), 2.);
  d = join(d, rod(p - vec3(0, .478, -.28), .22, .006, .004), 3.);
  d = join(d, roundBox(p - vec3(0, .347, .40), vec3(.30, .008, .155), .008), 5.);
  vec3 k = vec3(abs(p.x) - .085, p.y - .35, p.z - .66);
  d = join(d, rod(k, .045, .012, .006), 3.);
  float blade = 1e3;
  for (int i = 0; i < 3; i++) { vec3 b = p - vec3(.78, .035, .55); b.xz = turn(120. * float(i) + 20.) * b.xz; blade = min(blade, capsule(b, vec3(0), vec3(.34, .0, 0), .014)); }
  d = join(d, blade, 6.);
  d = join(d, rod(p - vec3(0, .06, 0), .88, .06, .02), 7.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) { float l = p.y > .33 ? logo(vec2(p.x / .26, -(p.z - .125) / .13)) : 0.;
    return Material(mix(vec3(.90, .91, .92), vec3(.25, .30, .34), l), .42, 0., vec3(0)); }
  if (id < 2.5) { float a = atan(p.x, p.z + .28), slot = step(.35, abs(p.y - .39) < .035 ? .5 + .5 * sin(a * 30.) : 0.);
    return Material(mix(vec3(.12, .13, .15), vec3(.02), slot), .6, 0., vec3(0)); }
  if (id < 3.5) return Material(vec3(.70, .74, .78), .6, .8, vec3(0));
  if (id < 4.5) return Material(vec3(.16, .18, .20), .35, 0., vec3(0));
  if (id < 5.5) { float t = display(vec2(p.x / .24, -(p.z - .40) / .24));
    return Material(vec3(.03), .8, 0., t * (vec3(.55, 1.15, 1.3))); }
  if (id < 6.5) return Material(vec3(.20, .55, .62), .1, 0., vec3(0));
  return Material(vec3(.10), .1, 0., vec3(0)); }
