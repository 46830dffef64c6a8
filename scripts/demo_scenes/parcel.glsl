vec3 aim() { return vec3(0, .34, 0); }
vec3 local(vec3 p) { p.xz = turn(seed * 47.) * p.xz; p.y -= .42; return p; }
vec3 blow() { return vec3(sin(seed * 3.1) * .5, .30 + .12 * cos(seed), .50); }  // where something hit it
float torn(vec3 q) {  // a ragged hole beside the blow
  vec3 c = vec3(cos(seed * 1.7) * .3, .1 * sin(seed * 2.3), .55);
  vec2 d = (q - c).xy * vec2(1., 1.6);
  return length(d) - .20 - .07 * sin(7. * atan(d.y, d.x) + seed) - .03 * sin(17. * atan(d.y, d.x)); }
vec2 product(vec3 p) {
  vec3 q = local(p);
  float sag = .10 * smoothstep(-.2, .45, q.y) * sin(3. * q.x + seed) * exp(-2. * dot(q.xz, q.xz));
  float box = roundBox(q + vec3(0, sag, 0), vec3(.72, .42, .55), .015);
  float wrinkle = .02 * sin(26. * q.x + 9. * q.y + seed) + .015 * sin(31. * q.y - 12. * q.x);
  box = max(box, -(length(q - blow()) - .33 + wrinkle));
  box = max(box, -(length(q - vec3(.74, .40 * cos(seed * 2.), .3)) - .24 + wrinkle));
  float hole = max(abs(q.z - .5) - .09, torn(q));
  vec2 d = vec2(max(box, -hole) * .7, 1.);
  return join(d, roundBox(q - vec3(0, -.04, -.02), vec3(.62, .34, .46), .02), 2.); }
Material look(float id, vec3 p) {
  vec3 q = local(p);
  if (id > 1.5) return Material(vec3(.13, .14, .16), .25, 0., vec3(0));
  vec3 card = vec3(.63, .46, .29) * (.82 + .22 * noise(q.xy * vec2(4., 22.) + q.z * 3.));
  card *= 1. - .45 * smoothstep(.06, .0, abs(length(q - blow()) - .34));                       // creases
  card = mix(card, vec3(.80, .70, .55), .7 * smoothstep(.05, .0, abs(torn(q))) * step(.4, q.z));  // torn edges are pale
  card = mix(card, vec3(.72, .62, .40) * 1.1, step(abs(q.x + .02), .09) * step(.40, q.y));        // tape
  vec2 l = (q.xy - vec2(-.40, -.12)) / vec2(.22, .20);
  if (q.z > .5 && abs(l.x) < 1. && abs(l.y) < 1.) {
    float lines = step(.6, fract(l.y * 3.5)) * step(abs(l.x), .8) * step(l.y, .45);
    float bars = step(.5, l.y) * step(abs(l.x), .8) * step(.5, fract(l.x * 9. + sin(l.x * 40.)));
    card = mix(vec3(.92), vec3(.12), max(lines * .6, bars)); }
  return Material(card, .05, 0., vec3(0)); }
