// @ts-check
import { css } from "../vendor/lit.js";

/** Buttons, fields and sheets of every part of the widget. */
export const controlStyles = css`
  *, ::before, ::after { box-sizing: border-box; }
  button, input, textarea { font: inherit; color: inherit; }
  button { cursor: pointer; }
  button:disabled { cursor: default; opacity: 0.5; }
  :is(button, a, textarea, input, [tabindex]):focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
  p { margin: 0; }
  .icon { flex: none; display: block; }
  .round { flex: none; display: grid; place-items: center; width: var(--tap); height: var(--tap); padding: 0; border: 0; border-radius: 50%; color: var(--ink-2); background: none; transition: background var(--fast), color var(--fast); }
  .round:hover:not(:disabled) { color: var(--ink); background: var(--surface-2); }
  .round.filled { color: var(--on-accent); background: var(--accent); }
  .round.filled:hover:not(:disabled) { color: var(--on-accent); background: var(--accent-strong); }
  .button { min-height: var(--tap); padding: 0 18px; border: 1px solid var(--line); border-radius: var(--radius-full); font-size: var(--text-m); font-weight: 600; color: var(--ink); background: var(--surface); transition: background var(--fast); }
  .button:hover { background: var(--surface-2); }
  .button.filled { border-color: transparent; color: var(--on-accent); background: var(--accent); }
  .button.filled:hover:not(:disabled) { background: var(--accent-strong); }
  .text-button { min-height: 28px; padding: 0 4px; border: 0; background: none; font-weight: 600; color: var(--accent-ink); text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: 3px; }
  .text-button:hover { text-decoration-thickness: 2px; }
`;

/** A sheet that covers the panel. */
export const sheetStyles = css`
  :host { position: absolute; inset: 0; z-index: 3; display: flex; flex-direction: column; color: var(--ink); background: var(--surface); animation: rise var(--slow) var(--ease); }
  @keyframes rise { from { opacity: 0; transform: translateY(14px); } }
  @media (prefers-reduced-motion: reduce) { :host { animation: none; } }
  .bar { flex: none; display: flex; align-items: center; gap: 6px; min-height: 60px; padding: 8px 10px; border-bottom: 1px solid var(--line); }
  .bar h2 { flex: 1; min-width: 0; margin: 0; overflow: hidden; font-size: var(--text-l); font-weight: 650; text-overflow: ellipsis; white-space: nowrap; }
  .sheet { flex: 1; min-height: 0; display: flex; flex-direction: column; }
`;

export const panelStyles = css`
  :host {
    /* A page may set any root size: px here, rem elsewhere. */
    --text-xs: 12px; --text-s: 13px; --text-m: 15px; --text-l: 17px; --text-xl: 22px;
  }
  :host([hidden]) { display: none; }
  /* What a page says of every element reaches the host and is inherited from it: everything begins anew here. */
  .root {
    all: initial;
    display: contents;
    color-scheme: inherit;
    font: 400 var(--text-m) / var(--leading) var(--font);
    color: var(--ink);
    -webkit-font-smoothing: antialiased;
    -webkit-text-size-adjust: 100%;
    text-size-adjust: 100%;
  }

  .launcher {
    position: fixed; z-index: 2147483000; inset-block-end: calc(20px + env(safe-area-inset-bottom)); inset-inline-end: calc(20px + env(safe-area-inset-right));
    display: grid; place-items: center; width: 60px; height: 60px; padding: 0; border: 0; border-radius: 50%;
    color: var(--on-accent); background: var(--accent); box-shadow: var(--shadow-3); transition: transform var(--fast) var(--ease), background var(--fast);
  }
  .launcher:hover { background: var(--accent-strong); transform: translateY(-2px); }
  .badge { position: absolute; inset-block-start: -2px; inset-inline-end: -2px; min-width: 22px; height: 22px; padding: 0 6px; border: 2px solid var(--surface); border-radius: 11px; font-size: 11px; line-height: 18px; font-weight: 700; text-align: center; color: #fff; background: #b3261e; }

  .panel {
    position: fixed; z-index: 2147483001; inset-block-end: calc(20px + env(safe-area-inset-bottom)); inset-inline-end: calc(20px + env(safe-area-inset-right));
    display: flex; flex-direction: column; width: 412px; height: min(720px, calc(100dvh - 40px)); overflow: hidden;
    border: 1px solid var(--line); border-radius: var(--radius-l); background: var(--surface); box-shadow: var(--shadow-3); animation: open var(--slow) var(--ease);
  }
  @keyframes open { from { opacity: 0; transform: translateY(16px) scale(0.98); } }
  .main { position: relative; flex: 1; min-height: 0; display: flex; flex-direction: column; }

  .head { flex: none; display: flex; align-items: center; gap: 12px; padding: 14px 10px 14px 18px; border-bottom: 1px solid var(--line); }
  .avatar { flex: none; display: grid; place-items: center; width: 40px; height: 40px; border-radius: 13px; color: var(--on-accent); background: var(--accent); }
  .avatar.person { border-radius: 50%; font-weight: 650; color: var(--accent-ink); background: var(--accent-soft); }
  .who { flex: 1; min-width: 0; }
  .who h2 { margin: 0; overflow: hidden; font-size: 16px; line-height: 1.35; font-weight: 650; text-overflow: ellipsis; white-space: nowrap; }
  .who p { overflow: hidden; font-size: var(--text-s); line-height: 1.4; color: var(--ink-3); text-overflow: ellipsis; white-space: nowrap; }
  .tools { display: flex; }

  .menu { position: absolute; z-index: 2; inset-block-start: 62px; inset-inline-end: 12px; display: grid; min-width: 216px; padding: 6px; border: 1px solid var(--line); border-radius: var(--radius-m); background: var(--surface); box-shadow: var(--shadow-2); }
  .menu button { display: flex; align-items: center; gap: 12px; min-height: 42px; padding: 0 12px; border: 0; border-radius: 8px; text-align: start; color: var(--ink); background: none; }
  .menu button:hover { background: var(--surface-2); }
  .menu .icon { color: var(--ink-3); }

  .strip { flex: none; display: flex; align-items: center; gap: 8px; padding: 8px 18px; font-size: var(--text-s); line-height: 1.45; color: var(--warn); background: var(--warn-soft); }
  .strip.problem { color: var(--danger); background: var(--danger-soft); }
  .strip span { flex: 1; }
  .strip .round { width: 28px; height: 28px; color: inherit; }

  .log { position: relative; flex: 1; min-height: 0; overflow: hidden auto; overscroll-behavior: contain; padding: 20px 18px 10px; scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
  .log ol { display: flex; flex-direction: column; margin: 0; padding: 0; list-style: none; }
  .log li { margin-top: 18px; }
  .log li.grouped { margin-top: 6px; }
  .log li:first-child { margin-top: 0; }
  .log li.fresh { animation: arrive var(--slow) var(--ease); }
  @keyframes arrive { from { opacity: 0; transform: translateY(8px); } }

  .welcome { display: grid; gap: 18px; margin-bottom: 18px; }
  .hints { display: grid; gap: 10px; padding: 16px; border: 1px solid var(--line); border-radius: var(--radius-m); }
  .hints p { font-size: var(--text-s); color: var(--ink-3); }
  .hints div { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
  .hints button { display: grid; justify-items: center; gap: 6px; padding: 14px 6px 12px; border: 0; border-radius: var(--radius-s); font-size: var(--text-s); line-height: 1.4; font-weight: 600; color: var(--ink-2); background: var(--surface-2); transition: background var(--fast); }
  .hints.consent div { grid-template-columns: repeat(2, 1fr); }
  .hints button:hover { color: var(--ink); background: var(--surface-3); }
  .hints .icon { color: var(--accent-ink); }

  .working { display: flex; align-items: center; gap: 10px; margin-top: 16px; font-size: var(--text-s); color: var(--ink-3); }
  .dots { display: flex; gap: 4px; padding: 11px 13px; border-radius: 16px; border-start-start-radius: 5px; background: var(--surface-2); }
  .dots i { width: 6px; height: 6px; border-radius: 50%; background: var(--ink-3); animation: hop 1.2s infinite var(--ease); }
  .dots i:nth-child(2) { animation-delay: 0.15s; }
  .dots i:nth-child(3) { animation-delay: 0.3s; }
  @keyframes hop { 0%, 60%, 100% { opacity: 0.35; transform: none; } 30% { opacity: 1; transform: translateY(-3px); } }

  .below { position: absolute; z-index: 1; inset-block-end: 12px; inset-inline: 0; width: fit-content; margin-inline: auto; display: flex; align-items: center; gap: 6px; min-height: 34px; padding: 0 14px 0 10px; border: 0; border-radius: 17px; font-size: var(--text-s); font-weight: 600; color: var(--on-accent); background: var(--accent); box-shadow: var(--shadow-2); }
  .logbox { position: relative; flex: 1; min-height: 0; display: flex; flex-direction: column; }

  .foot { flex: none; display: flex; flex-wrap: wrap; align-items: center; justify-content: center; gap: 0 6px; padding: 0 16px calc(10px + env(safe-area-inset-bottom)); font-size: var(--text-xs); color: var(--ink-3); }
  .foot .text-button { font-size: var(--text-xs); }

  .drop { position: absolute; z-index: 4; inset: 10px; display: grid; place-content: center; justify-items: center; gap: 12px; border: 2px dashed var(--accent); border-radius: var(--radius-m); font-weight: 600; text-align: center; color: var(--accent-ink); background: color-mix(in srgb, var(--surface) 94%, transparent); pointer-events: none; }

  dialog { max-width: none; max-height: none; width: 100vw; height: 100dvh; margin: 0; padding: 0; border: 0; color: #fff; background: rgb(8 12 11 / 0.94); }
  dialog::backdrop { background: none; }
  dialog figure { display: grid; place-items: center; width: 100%; height: 100%; margin: 0; padding: 64px 20px; }
  dialog img { max-width: 100%; max-height: calc(100dvh - 128px); object-fit: contain; border-radius: 8px; background: #fff; }
  dialog figcaption { position: absolute; inset: auto 20px 18px; font-size: var(--text-s); text-align: center; }
  dialog .round { position: absolute; z-index: 1; inset-block-start: calc(12px + env(safe-area-inset-top)); inset-inline-end: 14px; color: #fff; background: rgb(255 255 255 / 0.16); }
  dialog .round:hover:not(:disabled) { color: #fff; background: rgb(255 255 255 / 0.28); }
  dialog .round:focus-visible { outline-color: #fff; }

  @media (max-width: 520px) {
    .panel { inset: 0; inset-block-start: var(--keyboard-top, 0); width: auto; height: var(--keyboard-height, 100dvh); border: 0; border-radius: 0; }
    .head { padding-block-start: calc(12px + env(safe-area-inset-top)); }
    .log { padding-inline: max(16px, env(safe-area-inset-left)) max(16px, env(safe-area-inset-right)); }
    .menu { inset-block-start: calc(62px + env(safe-area-inset-top)); }
  }
  @media (prefers-reduced-motion: reduce) {
    .panel, .log li.fresh, .dots i { animation: none; }
    .dots i { opacity: 0.7; }
  }
  @media (forced-colors: active) { .launcher, .panel { border: 1px solid CanvasText; } }
`;
