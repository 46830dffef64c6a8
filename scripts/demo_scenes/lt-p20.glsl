vec3 aim() { return vec3(0, .34, 0); }
vec3 local(vec3 p) { p.xz = turn(-30.) * p.xz; p.y -= .165; return p; }
vec3 second(vec3 p) { p -= vec3(-.05, .47, -.16); p.xz = turn(24.) * p.xz; p.yz = turn(-14.) * p.yz; return p; }
float bank(vec3 q) { return roundBox(q, vec3(.78, .16, .40), .12); }
vec2 product(vec3 p) {
  vec3 q = local(p);
  vec2 d = vec2(bank(q), 1.);
  float ports = min(roundBox(q - vec3(.78, 0, -.16), vec3(.03, .035, .085), .03), roundBox(q - vec3(.78, 0, .05), vec3(.03, .035, .085), .03));
  ports = min(ports, roundBox(q - vec3(.78, 0, .25), vec3(.03, .05, .075), .01));
  d.x = max(d.x, -ports);
  d = join(d, roundBox(q - vec3(.74, 0, .04), vec3(.02, .09, .32), .01), 2.);
  d = join(d, roundBox(q - vec3(.42, .0, .40), vec3(.075, .022, .014), .02), 3.);
  vec3 r = p; r -= vec3(-.02, .335, 0); r.xz = turn(-30.) * r.xz;   // cable coiled on top
  d = join(d, min(torus(r - vec3(-.2, .02, 0), .25, .028), torus(r - vec3(-.19, .068, .01), .235, .028)), 4.);
  d = join(d, capsule(r, vec3(.03, .03, .12), vec3(.26, .01, .20), .028), 4.);
  d = join(d, roundBox(r - vec3(.33, .02, .225), vec3(.085, .035, .045), .02), 5.);
  return d; }
Material look(float id, vec3 p) {
  vec3 q = local(p);
  if (id < 1.5) {
    float l = q.z > .3 ? logo(vec2((q.x + .30) / .28, q.y / .15)) : 0.;
    float leds = 0.; for (int i = 0; i < 4; i++) leds += smoothstep(.017, .011, length(q.xy - vec2(.18 + .055 * float(i), 0.))) * step(.3, q.z);
    return Material(mix(vec3(.06, .20, .27), vec3(.85), .9 * l), .30, .1, leds * vec3(.5, 1., 1.1)); }
  if (id < 2.5) return Material(vec3(.05), .4, 0., vec3(0));
  if (id < 3.5) return Material(vec3(.72, .75, .78), .6, .8, vec3(0));
  if (id < 4.5) return Material(vec3(.86, .87, .88), .15, 0., vec3(0));
  return Material(vec3(.90), .4, 0., vec3(0)); }
