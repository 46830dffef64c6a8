vec3 aim() { return vec3(.06, .74, 0); }
vec2 product(vec3 p) {
  vec2 d = vec2(rod(p - vec3(0, .05, 0), .52, .05, .03), 2.);
  vec3 q = p - vec3(0, .70, 0);
  float body = cone(q, .50, .385, .56, .06);
  vec3 s = q - vec3(-.44, .43, 0); s.xy = turn(38.) * s.xy;      // spout
  body = smin(body, cone(s, .14, .055, .17, .03) * .9, .10);
  d = join(d, body, 1.);
  d = join(d, cone(q - vec3(0, .585, 0), .36, .33, .035, .02), 3.);
  d = join(d, rod(q - vec3(0, .66, 0), .065, .045, .03), 4.);
  vec3 h = q - vec3(.44, .02, 0);                                  // handle: an open loop on the right
  float loop = abs(length(vec2(max(abs(h.x - .10) - .10, 0.), max(abs(h.y) - .22, 0.))) - .20) - .0;
  float handle = length(vec2(loop, max(abs(h.z) - .035, 0.))) - .042;
  d = join(d, max(handle, -h.x + .0) * .9, 4.);
  d = join(d, rod((p - vec3(0, .44, .455)).xzy, .135, .035, .012), 5.);
  return d; }
Material look(float id, vec3 p) {
  if (id < 1.5) { float a = atan(p.x, p.z), l = p.z > 0. ? logo(vec2(a / .38, (p.y - .98) / .16)) : 0.;
    float band = step(abs(p.y - .175), .035);
    if (band > .5) return Material(vec3(.75, .76, .78), .75, .9, vec3(0));
    return Material(mix(vec3(.90, .87, .80), vec3(.35, .30, .24), l), .45, 0., vec3(0)); }
  if (id < 2.5) return Material(vec3(.14, .14, .15), .35, 0., vec3(0));
  if (id < 3.5) return Material(vec3(.76, .77, .79), .8, .9, vec3(0));
  if (id < 4.5) return Material(vec3(.60, .42, .27) * (.9 + .1 * noise(vec2(p.y * 40., p.z * 8.))), .25, 0., vec3(0));
  float t = display(vec2(p.x / .125, (p.y - .44) / .125)); return Material(vec3(.02), .8, 0., t * vec3(1.3, .45, .12)); }
