// What vendor/lit.js is bundled from; see README.md for the command. Browsers never load this file.
export * from "lit";
export { repeat } from "lit/directives/repeat.js";
export { classMap } from "lit/directives/class-map.js";
export { styleMap } from "lit/directives/style-map.js";
export { ifDefined } from "lit/directives/if-defined.js";
export { live } from "lit/directives/live.js";
export { keyed } from "lit/directives/keyed.js";
export { createRef, ref } from "lit/directives/ref.js";
export { unsafeHTML } from "lit/directives/unsafe-html.js";
export { until } from "lit/directives/until.js";
