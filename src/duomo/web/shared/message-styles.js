// @ts-check
import { css } from "../vendor/lit.js";

/** Markdown inside any shadow root. */
export const markdownStyles = css`
  .markdown { overflow-wrap: anywhere; }
  .markdown > :first-child { margin-top: 0; }
  .markdown > :last-child { margin-bottom: 0; }
  .markdown :where(p, ul, ol, blockquote, .scroll) { margin: 0.6em 0; }
  .markdown :where(h1, h2, h3, h4, h5, h6) { margin: 1.3em 0 0.5em; font-size: 1.05em; line-height: 1.4; font-weight: 650; }
  .markdown h1 { font-size: 1.2em; }
  .markdown h2 { font-size: 1.12em; }
  .markdown :is(ul, ol) { padding-inline-start: 1.4em; }
  .markdown li + li { margin-top: 0.25em; }
  .markdown li::marker { color: var(--ink-3); }
  .markdown a { color: var(--accent-ink); text-underline-offset: 2px; }
  .markdown code { padding: 0.1em 0.35em; border-radius: 5px; font-family: var(--mono); font-size: 0.9em; background: var(--surface-3); }
  .markdown pre { margin: 0; padding: 12px; border-radius: var(--radius-s); background: var(--surface-3); }
  .markdown pre code { padding: 0; background: none; }
  .markdown blockquote { padding-inline-start: 12px; border-inline-start: 3px solid var(--line); color: var(--ink-2); }
  .markdown img { display: block; max-width: 100%; height: auto; margin: 12px 0; border-radius: var(--radius-s); background: var(--surface-2); }
  .markdown hr { border: 0; border-top: 1px solid var(--line); }
  .markdown .scroll { overflow-x: auto; }
  .markdown .scroll:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
  .markdown table { border-collapse: collapse; width: 100%; font-size: 0.94em; }
  .markdown :is(th, td) { padding: 7px 10px; border: 1px solid var(--line); text-align: start; vertical-align: top; }
  .markdown th { background: var(--surface-2); font-weight: 600; white-space: nowrap; }
  .markdown mark { padding: 0.1em 0; border-radius: 3px; color: inherit; background: var(--mark); -webkit-box-decoration-break: clone; box-decoration-break: clone; }
`;

/** Screen readers only. */
export const hiddenStyles = css`
  .sr-only { position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; border: 0; }
`;

export const messageStyles = [
  markdownStyles,
  hiddenStyles,
  css`
    :host { display: block; font: 400 var(--text-m) / var(--leading) var(--font); color: var(--ink); }
    * { box-sizing: border-box; }
    button { font: inherit; color: inherit; cursor: pointer; }
    :is(button, a, textarea):focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
    p { margin: 0; }
    .icon { flex: none; vertical-align: -0.2em; }

    .message { display: flex; flex-direction: column; align-items: flex-start; gap: 6px; }
    .message.own { align-items: flex-end; }
    header { display: flex; align-items: center; gap: 6px; padding: 0 2px; font-size: var(--text-s); color: var(--ink-3); }
    header .name { font-weight: 600; color: var(--ink-2); }
    time { font-size: var(--text-xs); font-variant-numeric: tabular-nums; }
    .ai { padding: 0 6px; border-radius: 5px; font-size: 11px; line-height: 17px; font-weight: 700; letter-spacing: 0.03em; color: var(--accent-ink); background: var(--accent-soft); }

    .bubble { display: flex; gap: 8px; max-width: min(88%, 620px); padding: 10px 14px; border-radius: 16px; border-start-start-radius: 5px; background: var(--surface-2); overflow-wrap: anywhere; }
    .bubble > .icon { margin-top: 3px; color: var(--accent-ink); }
    .bubble > div { min-width: 0; }
    .own .bubble { border-radius: 16px; border-end-end-radius: 5px; color: var(--on-accent); background: var(--accent); }
    .own.bot .bubble, .own.agent .bubble { color: var(--ink); background: var(--accent-soft); }
    .private .bubble { color: var(--ink); background: var(--warn-soft); border: 1px dashed var(--warn); }
    .plain { white-space: pre-wrap; }
    .plain a { color: inherit; text-underline-offset: 2px; }
    .caret { display: inline-block; width: 7px; height: 1em; margin-inline-start: 3px; vertical-align: -0.14em; border-radius: 2px; background: var(--accent-ink); animation: blink 1s steps(2) infinite; }
    @keyframes blink { 50% { opacity: 0; } }

    .cite { display: inline-grid; place-items: center; min-width: 24px; height: 24px; margin: 0 2px; padding: 0 6px; border: 0; border-radius: 12px; font-size: var(--text-xs); font-weight: 650; line-height: 1; vertical-align: 1px; color: var(--accent-ink); background: var(--accent-soft); }
    .cite:hover { color: var(--on-accent); background: var(--accent); }

    .part { display: flex; flex-direction: column; align-items: inherit; gap: 6px; max-width: min(88%, 620px); }
    .picture { display: block; overflow: hidden; max-width: 280px; padding: 0; border: 1px solid var(--line); border-radius: 14px; background: var(--surface-2); }
    .picture img { display: block; width: 100%; height: 100%; max-height: 260px; object-fit: contain; }
    button.picture { cursor: zoom-in; transition: border-color var(--fast); }
    button.picture:hover { border-color: var(--accent); }
    .picture.article { max-width: min(88%, 320px); background: #fff; }
    .sound { width: min(280px, 100%); padding: 8px 12px 8px 8px; border-radius: 22px; color: var(--accent-ink); background: var(--accent-soft); }
    .file { display: flex; align-items: center; gap: 10px; max-width: 100%; padding: 10px 14px; border: 1px solid var(--line); border-radius: 14px; font-size: var(--text-s); line-height: 1.45; color: var(--ink); text-decoration: none; background: var(--surface); }
    a.file:hover { border-color: var(--accent); }
    .file .icon { color: var(--accent-ink); }
    .file span { min-width: 0; overflow-wrap: anywhere; }
    .file small { display: block; color: var(--ink-3); }
    .file.refused { border-color: var(--danger); background: var(--danger-soft); }
    .file.refused .icon { color: var(--danger); }
    .file.refused strong { display: block; font-weight: 600; }

    .artifact { position: relative; width: fit-content; max-width: 100%; padding: 8px 44px 9px 12px; border: 1px solid var(--line); border-radius: 12px; font-size: var(--text-s); line-height: 1.55; text-align: start; color: var(--ink-2); background: var(--surface); }
    .artifact p { overflow-wrap: anywhere; white-space: pre-line; color: var(--ink); }
    .artifact .label { display: inline-flex; align-items: center; gap: 5px; font-size: var(--text-xs); font-weight: 600; color: var(--ink-3); }
    .artifact .what { display: flex; flex-wrap: wrap; gap: 0 8px; align-items: baseline; }
    .artifact.unsure { border-color: var(--warn); background: var(--warn-soft); }
    .artifact.unsure .label { color: var(--warn); }
    .fine, .artifact p.fine { font-size: var(--text-xs); color: var(--ink-3); }
    .unsure .fine, .artifact.unsure p.fine { color: var(--ink-2); }
    .edit { position: absolute; inset-block-start: 4px; inset-inline-end: 4px; display: grid; place-items: center; width: 32px; height: 32px; padding: 0; border: 0; border-radius: 8px; color: var(--ink-3); background: none; }
    .unsure .edit { color: var(--warn); }
    .edit:hover { color: var(--ink); background: var(--surface-3); }
    .part:has(.editing) { width: 100%; }
    .editing { display: grid; gap: 8px; width: min(340px, 100%); padding: 10px 12px 12px; border-color: var(--accent); }
    textarea { width: 100%; padding: 8px 10px; border: 1px solid var(--line-strong); border-radius: 8px; font: inherit; font-size: 16px; line-height: 1.5; color: var(--ink); background: var(--surface); resize: vertical; }
    .row { display: flex; justify-content: flex-end; gap: 8px; }
    .primary, .quiet { min-height: 34px; padding: 0 14px; border-radius: 9px; font-size: var(--text-s); font-weight: 600; }
    .primary { border: 0; color: var(--on-accent); background: var(--accent); }
    .primary:hover { background: var(--accent-strong); }
    .quiet { border: 1px solid var(--line); background: none; color: var(--ink-2); }
    .quiet:hover { background: var(--surface-2); }
    .problem, .artifact p.problem { color: var(--danger); }
    .link { min-height: 24px; padding: 0 2px; border: 0; background: none; font-size: var(--text-s); font-weight: 600; color: var(--accent-ink); text-decoration: underline; text-underline-offset: 3px; }

    .sources { display: flex; flex-wrap: wrap; gap: 6px; max-width: 100%; margin: 0; padding: 0; list-style: none; }
    .sources li { min-width: 0; max-width: 100%; }
    .sources button { display: flex; align-items: center; gap: 7px; max-width: 100%; min-height: 30px; padding: 3px 11px 3px 4px; border: 1px solid var(--line); border-radius: 15px; font-size: var(--text-s); line-height: 1.4; color: var(--ink-2); background: var(--surface); transition: border-color var(--fast), color var(--fast); }
    .sources button:hover { border-color: var(--accent); color: var(--ink); }
    .sources .n { flex: none; display: grid; place-items: center; width: 20px; height: 20px; border-radius: 50%; font-size: 11px; font-weight: 700; color: var(--accent-ink); background: var(--accent-soft); }
    .sources .title { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }

    .options { display: flex; flex-wrap: wrap; gap: 8px; max-width: 100%; padding-top: 2px; }
    .options button { min-height: 36px; padding: 6px 14px; border: 1px solid var(--accent); border-radius: 18px; line-height: 1.4; text-align: start; color: var(--accent-ink); background: var(--surface); transition: background var(--fast); }
    .options button:hover { background: var(--accent-soft); }

    .feedback { display: flex; gap: 2px; margin-top: -2px; }
    .feedback button { display: grid; place-items: center; width: 32px; height: 30px; padding: 0; border: 0; border-radius: 8px; color: var(--ink-3); background: none; }
    .feedback button:hover { color: var(--ink); background: var(--surface-2); }
    .feedback button[aria-pressed="true"] { color: var(--accent-ink); background: var(--accent-soft); }

    .tag { display: flex; align-items: center; gap: 5px; font-size: var(--text-xs); font-weight: 600; color: var(--warn); }
    .notice { display: flex; flex-wrap: wrap; justify-content: center; gap: 2px 8px; margin: 4px auto; padding: 0 16px; font-size: var(--text-s); text-align: center; color: var(--ink-3); }
    .notice time { align-self: center; }
    .delivery { display: flex; flex-wrap: wrap; align-items: center; justify-content: inherit; gap: 4px 8px; font-size: var(--text-xs); color: var(--ink-3); }
    .delivery.failed { color: var(--danger); justify-content: flex-end; text-align: end; }
    @media (prefers-reduced-motion: reduce) { .caret { animation: none; } }
  `,
];
