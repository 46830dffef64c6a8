// @ts-check
/** Colours derived from a workspace's accent, so that any accent stays readable: WCAG 2.2 contrast, 4.5:1 for text. */

/** @typedef {[number, number, number]} Rgb red, green, blue in [0, 255] */

/** @param {string} hex "#rgb" or "#rrggbb" @returns {Rgb | null} */
export function parseColour(hex) {
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(hex.trim());
  if (short) return /** @type {Rgb} */ (short.slice(1).map((digit) => parseInt(digit + digit, 16)));
  const long = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(hex.trim());
  return long ? /** @type {Rgb} */ (long.slice(1).map((pair) => parseInt(pair, 16))) : null;
}

/** Relative luminance, WCAG 2.2 definition. @param {Rgb} rgb @returns {number} in [0, 1] */
function luminance(rgb) {
  const [r, g, b] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** @param {Rgb} a @param {Rgb} b @returns {number} in [1, 21] */
export function contrast(a, b) {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

/** @param {Rgb} from @param {Rgb} to @param {number} share of `to`, [0, 1] @returns {Rgb} */
function mix(from, to, share) {
  return /** @type {Rgb} */ (from.map((value, i) => Math.round(value + (to[i] - value) * share)));
}

/** @param {Rgb} rgb */
const css = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/** @type {Rgb} */
const WHITE = [255, 255, 255];
/** @type {Rgb} */
const BLACK = [6, 20, 16];

/**
 * The custom properties to set on a host so that it wears an accent of its own.
 * @param {string} accent "#rrggbb"
 * @param {boolean} dark
 * @returns {Record<string, string>} empty when `accent` is no colour
 */
export function accentVariables(accent, dark) {
  const base = parseColour(accent);
  if (!base) return {};
  /** @type {Rgb} */
  const surface = dark ? [32, 40, 38] : [241, 243, 242];
  const away = dark ? WHITE : BLACK;
  let ink = base;
  for (let share = 0; share <= 1 && contrast(ink, surface) < 4.6; share += 0.05) ink = mix(base, away, share);
  const soft = mix(base, surface, 0.88);
  return {
    "--accent": css(ink),
    "--accent-strong": css(mix(ink, away, 0.18)),
    "--accent-ink": css(mix(ink, away, contrast(ink, soft) < 4.6 ? 0.2 : 0)),
    "--accent-soft": css(soft),
    "--on-accent": css(contrast(ink, WHITE) >= 4.5 ? WHITE : BLACK),
  };
}

/** @param {Element} host @returns {boolean} what the host shows: its data-theme, else the system's preference */
export function isDark(host) {
  const theme = host.getAttribute("data-theme");
  if (theme === "dark" || theme === "light") return theme === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}
