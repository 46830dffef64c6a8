#version 300 es
precision highp float;
uniform sampler2D labels, bookPage;
uniform float side, seed;
uniform int background;
uniform vec3 camera, lightFrom;
out vec4 colour;

struct Material { vec3 albedo; float gloss; float metal; vec3 glow; };

// distances
float roundBox(vec3 p, vec3 b, float r) { vec3 q = abs(p) - b + r; return length(max(q, 0.)) + min(max(q.x, max(q.y, q.z)), 0.) - r; }
float rod(vec3 p, float r, float h, float e) {  // cylinder along y, rounded by e
  vec2 d = abs(vec2(length(p.xz), p.y)) - vec2(r, h) + e; return min(max(d.x, d.y), 0.) + length(max(d, 0.)) - e; }
float cone(vec3 p, float r1, float r2, float h, float e) {  // along y, radius r1 below and r2 above, rounded by e
  float t = clamp(p.y / h * .5 + .5, 0., 1.), r = mix(r1, r2, t);
  vec2 d = vec2(length(p.xz) - r, abs(p.y) - h) + e; return (min(max(d.x, d.y), 0.) + length(max(d, 0.)) - e) * .9; }
float torus(vec3 p, float R, float r) { return length(vec2(length(p.xz) - R, p.y)) - r; }
float capsule(vec3 p, vec3 a, vec3 b, float r) { vec3 q = p - a, d = b - a; return length(q - d * clamp(dot(q, d) / dot(d, d), 0., 1.)) - r; }
float smin(float a, float b, float k) { float h = max(k - abs(a - b), 0.) / k; return min(a, b) - h * h * k * .25; }
mat2 turn(float degrees) { float a = radians(degrees), c = cos(a), s = sin(a); return mat2(c, -s, s, c); }
vec2 join(vec2 a, float d, float id) { return d < a.x ? vec2(d, id) : a; }
float noise(vec2 p) { vec2 i = floor(p), f = fract(p); f = f * f * (3. - 2. * f);
  #define H(q) fract(sin(dot(q, vec2(127.1, 311.7)) + seed) * 43758.5453)
  return mix(mix(H(i), H(i + vec2(1, 0)), f.x), mix(H(i + vec2(0, 1)), H(i + vec2(1, 1)), f.x), f.y); }
float logo(vec2 uv) { if (abs(uv.x) > 1. || abs(uv.y) > .25) return 0.; return texture(labels, vec2(.25 + uv.x * .25, .5 + uv.y * .5)).r; }
float display(vec2 uv) { if (abs(uv.x) > 1. || abs(uv.y) > 1.) return 0.; return texture(labels, vec2(.75 + uv.x * .25, .5 + uv.y * .5)).r; }

// A product supplies: vec2 product(vec3 p) -> (distance, id >= 1), Material look(float id, vec3 p), vec3 aim().
// PRODUCT

vec2 world(vec3 p) { vec2 d = product(p); return join(d, p.y, 0.); }
vec3 normal(vec3 p) { vec2 e = vec2(.0007, -.0007);
  return normalize(e.xyy * world(p + e.xyy).x + e.yyx * world(p + e.yyx).x + e.yxy * world(p + e.yxy).x + e.xxx * world(p + e.xxx).x); }
float trace(vec3 o, vec3 d, out float id) {
  float t = .6; id = -1.;
  for (int i = 0; i < 150; i++) { vec2 h = world(o + d * t); if (h.x < .0004 * t) { id = h.y; return t; } t += h.x * .92; if (t > 24.) break; }
  return -1.; }
float shadow(vec3 o, vec3 d) { float s = 1., t = .015;
  for (int i = 0; i < 44; i++) { float h = product(o + d * t).x; s = min(s, .5 + .5 * h / (.13 * t)); if (s < 0. || t > 5.) break; t += clamp(h, .012, .22); }
  s = max(s, 0.); return s * s * (3. - 2. * s); }
float occlusion(vec3 p, vec3 n) { float o = 0., k = 1.;
  for (int i = 0; i < 6; i++) { float h = .012 + .11 * float(i); o += (h - world(p + n * h).x) * k; k *= .72; } return clamp(1. - 1.25 * o, 0., 1.); }
vec3 studio(vec3 d) {  // what glossy surfaces mirror: a soft box above, a strip at each side, a bright sweep below
  vec3 c = mix(vec3(.50, .51, .53), vec3(.82, .84, .87), smoothstep(-.2, .7, d.y));
  if (background != 0) c *= .62;
  vec3 l = normalize(lightFrom);
  c += 2.4 * smoothstep(.86, .95, dot(d, l)) + .9 * smoothstep(.25, .1, abs(d.x - .85)) * smoothstep(.5, .2, abs(d.y - .2)) * step(0., d.z);
  c += .5 * smoothstep(.22, .1, abs(d.x + .9)) * smoothstep(.7, .3, abs(d.y - .2));
  return c * (d.y < -.05 ? .75 : 1.); }
Material floorLook(vec3 p) {
  vec2 q = turn(17. + seed * 7.) * p.xz;
  if (background == 0) return Material(vec3(1.16, 1.17, 1.18), .12, 0., vec3(0));
  if (background == 1) {  // oak boards
    float board = floor(q.x * 1.4), g = noise(vec2(q.x * 26. + board * 9., q.y * 1.3 + board * 5.)), w = noise(q * vec2(5., .7) + board * 3.);
    vec3 c = mix(vec3(.46, .29, .16), vec3(.70, .50, .31), .55 * g + .45 * w) * (.9 + .2 * fract(board * .37));
    c *= 1. - .6 * smoothstep(.02, .0, abs(fract(q.x * 1.4) - .5) - .485);
    return Material(c, .28, 0., vec3(0)); }
  if (background == 2) {  // woven cloth
    float weave = .5 + .25 * sin(q.x * 150.) + .25 * sin(q.y * 150.);
    return Material(mix(vec3(.36, .40, .45), vec3(.50, .54, .58), weave) * (.85 + .3 * noise(q * 2.5)), .02, 0., vec3(0)); }
  if (background == 3) {  // kitchen tiles
    vec2 f = abs(fract(q * .9) - .5); float joint = smoothstep(.485, .495, max(f.x, f.y));
    return Material(mix(vec3(.78, .76, .72) * (.9 + .15 * noise(q * 9.)), vec3(.5, .48, .45), joint), mix(.5, .05, joint), 0., vec3(0)); }
  return Material(vec3(.10, .10, .11) * (.8 + .4 * noise(q * 30.)), .3, 0., vec3(0)); }
vec3 shade(vec3 p, vec3 d, float id) {
  Material m; if (id < .5) m = floorLook(p); else m = look(id, p);
  vec3 n = normal(p), l = normalize(lightFrom), r = reflect(d, n), h = normalize(l - d);
  float s = shadow(p + n * .004, l), o = occlusion(p, n), f = pow(1. - max(dot(n, -d), 0.), 5.);
  vec3 warm = background == 0 ? vec3(1.24, 1.22, 1.20) : vec3(1.75, 1.6, 1.4), sky = background == 0 ? vec3(.50, .52, .55) : vec3(.36, .40, .46);
  vec3 base = m.albedo * (1. - m.metal);
  vec3 c = base * (warm * max(dot(n, l), 0.) * s * .62 + sky * o * (.62 + .38 * n.y) + vec3(.10) * o * max(-n.y, 0.));
  float mirror = mix(.04, 1., m.metal) + (1. - m.metal) * .9 * f * m.gloss;
  vec3 tint = mix(vec3(1), m.albedo, m.metal);
  c += tint * studio(r) * mirror * (.25 + .75 * m.gloss) * mix(o, 1., .25) * (id < .5 ? .5 : 1.);
  c += tint * warm * pow(max(dot(n, h), 0.), mix(12., 240., m.gloss)) * m.gloss * s * (1. - .5 * m.metal);
  return c + m.glow; }
void main() {
  vec2 uv = (2. * gl_FragCoord.xy - side) / side;
  vec3 target = aim(), o; float a = radians(camera.x), e = radians(camera.y);
  o = target + camera.z * vec3(sin(a) * cos(e), sin(e), cos(a) * cos(e));
  o.y = max(o.y, .06);
  vec3 w = normalize(target - o), u = normalize(cross(w, vec3(0, 1, 0))), v = cross(u, w);
  vec3 d = normalize(uv.x * u + uv.y * v + 3.6 * w);
  float id, t = trace(o, d, id);
  vec3 far = background == 0 ? vec3(1.10) : background == 4 ? vec3(.05) : vec3(.52, .50, .47);
  vec3 c = far;
  if (t > 0.) { c = shade(o + d * t, d, id); if (id < .5) c = mix(c, far, smoothstep(background == 0 ? 3.2 : 7., background == 0 ? 8. : 18., length((o + d * t).xz))); }
  c *= background == 0 ? 1.0 : 1. - .16 * dot(uv, uv);
  c = c * (1. + c * .08) / (1. + c * .16);                      // gentle shoulder, so highlights keep their colour
  colour = vec4(pow(clamp(c, 0., 1.), vec3(1. / 1.9)), 1); }
