vec3 aim() { return vec3(0, .58, .05); }
vec3 local(vec3 p) { p -= vec3(0, .03, .42); p.yz = turn(58.) * p.yz; return p + vec3(0, -.03, .70); }  // leans back on its stand
vec2 product(vec3 p) {
  vec3 q = local(p);
  vec2 d = vec2(roundBox(q, vec3(.54, .034, .70), .03), 1.);
  d.x = max(d.x, -roundBox(q - vec3(0, .036, -.04), vec3(.465, .008, .60), .004));
  d = join(d, roundBox(q - vec3(0, .026, -.04), vec3(.47, .004, .605), .002), 2.);
  d = join(d, roundBox(p - vec3(0, .33, -.05), vec3(.20, .33, .02), .015), 3.);
  d = join(d, roundBox(p - vec3(0, .018, .16), vec3(.30, .018, .38), .012), 3.);
  d = join(d, roundBox(p - vec3(0, .05, .52), vec3(.30, .05, .018), .012), 3.);
  return d; }
Material look(float id, vec3 p) {
  vec3 q = local(p);
  if (id < 1.5) { float l = q.y > .02 ? logo(vec2(q.x / .15, -(q.z - .625) / .075)) : 0.;
    return Material(mix(vec3(.12, .14, .15), vec3(.62), l), .3, 0., vec3(0)); }
  if (id < 2.5) { vec2 uv = vec2(.5 + q.x / .93, .5 - (q.z + .04) / 1.2);
    return Material(texture(bookPage, uv).rgb * vec3(.92, .90, .86), .10, 0., vec3(0)); }
  return Material(vec3(.63, .45, .29), .15, 0., vec3(0)); }
