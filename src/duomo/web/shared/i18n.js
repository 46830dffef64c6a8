// @ts-check
/** Words in both languages. A page adds its own with `extend`; a missing key shows itself, and a test finds it. */

/** @typedef {"zh" | "en"} Language */
/** @typedef {(key: string, params?: Record<string, string | number>) => string} Translate */

/** @type {Record<Language, Record<string, string>>} */
const WORDS = {
  en: {
    "app.name": "Duomo",
    "author.bot": "Assistant",
    "author.customer": "You",
    "author.agent": "Support",
    "author.system": "Notice",
    "author.bot_spoken": "AI assistant",
    "ai.label": "AI",
    "ai.long": "Answer written by an AI",
    "heard": "Heard",
    "read": "Read in the picture",
    "read.document": "Read in the document",
    "heard.unsure": "Not sure I heard this right",
    "read.unsure": "Not sure I read this right",
    "corrected.customer": "corrected by you",
    "corrected.agent": "corrected by support",
    "corrected.before": "Before: {text}",
    "edit": "Correct",
    "edit.label": "Correct what was understood: {text}",
    "edit.field": "What it should say",
    "save": "Save",
    "cancel": "Cancel",
    "close": "Close",
    "back": "Back",
    "retry": "Try again",
    "delete": "Delete",
    "more": "Show all",
    "less": "Show less",
    "sources": "Sources",
    "source.open": "Source {n}: {title}",
    "picture.open": "Open picture {name}",
    "picture.of": "Picture from “{title}”",
    "picture.failed": "This picture cannot be shown.",
    "part.received": "Being checked…",
    "part.refused": "This file could not be used.",
    "document.open": "Open document {name}",
    "audio.play": "Play voice note",
    "audio.pause": "Pause voice note",
    "audio.seek": "Position in the voice note",
    "audio.failed": "This voice note cannot be played.",
    "feedback.up": "This helped",
    "feedback.down": "This did not help",
    "feedback.ask": "Did this help?",
    "private": "Private note, seen by agents only",
    "time.now": "just now",
    "state.waiting": "Waiting to send",
    "state.sending": "Sending…",
    "state.failed": "Not sent",
    "kind.photo": "photo",
    "kind.screenshot": "screenshot",
    "kind.document": "document",
    "artifact.transcript": "Transcript",
    "artifact.ocr": "Text in picture",
    "artifact.picture_kind": "Kind of picture",
    "artifact.document_text": "Document text",
    "confidence": "{percent}% sure",
    "error.bad_input": "Something in this message could not be used. Please change it and try again.",
    "error.unsupported_type": "This kind of file is not supported. Pictures, voice notes, PDF, Word and text files work.",
    "error.bad_media": "This file is damaged or is not what its name says. Try another copy or a screenshot.",
    "error.too_large": "This file is too large. Send a smaller one.",
    "error.too_large.max": "This file is too large ({size}). Up to {max} is possible.",
    "error.too_many_files": "Up to {max} files fit in one message. Send the others next.",
    "error.not_found": "This is no longer here.",
    "error.conflict": "This is not possible at the moment.",
    "error.denied": "You are not allowed to do this. Reload the page and try again.",
    "error.too_many": "That was a lot at once. It continues in {seconds} seconds.",
    "error.unavailable": "The service is busy. Your message is kept and will be sent as soon as it is back.",
    "error.network": "No connection. Your message is kept and will be sent as soon as you are back online.",
    "error.unknown": "Something went wrong. Please try again.",
    "error.mic_denied": "The microphone is blocked. Allow it in the browser's address bar, then try again.",
    "error.mic_missing": "No microphone was found. Connect one, or write your question.",
    "error.camera_denied": "The camera is blocked. Allow it in the browser's address bar, or choose a picture instead.",
    "error.camera_missing": "No camera was found. Choose a picture instead.",
    "error.insecure": "Microphone and camera need a secure (https) page.",
    "error.silent": "Nothing was recorded. Check that the microphone is not muted.",
  },
  zh: {
    "app.name": "多模",
    "author.bot": "智能助手",
    "author.customer": "我",
    "author.agent": "人工客服",
    "author.system": "通知",
    "author.bot_spoken": "AI 智能助手",
    "ai.label": "AI",
    "ai.long": "此回答由 AI 生成",
    "heard": "听到的内容",
    "read": "图片中的文字",
    "read.document": "文档中的文字",
    "heard.unsure": "不确定是否听准了",
    "read.unsure": "不确定是否看准了",
    "corrected.customer": "您已更正",
    "corrected.agent": "客服已更正",
    "corrected.before": "原为：{text}",
    "edit": "更正",
    "edit.label": "更正识别内容：{text}",
    "edit.field": "正确的内容",
    "save": "保存",
    "cancel": "取消",
    "close": "关闭",
    "back": "返回",
    "retry": "重试",
    "delete": "删除",
    "more": "展开全部",
    "less": "收起",
    "sources": "来源",
    "source.open": "来源 {n}：{title}",
    "picture.open": "查看图片 {name}",
    "picture.of": "《{title}》中的图片",
    "picture.failed": "图片无法显示。",
    "part.received": "正在检查…",
    "part.refused": "这个文件无法使用。",
    "document.open": "打开文档 {name}",
    "audio.play": "播放语音",
    "audio.pause": "暂停语音",
    "audio.seek": "语音播放位置",
    "audio.failed": "语音无法播放。",
    "feedback.up": "有帮助",
    "feedback.down": "没有帮助",
    "feedback.ask": "这个回答有帮助吗？",
    "private": "内部备注，仅客服可见",
    "time.now": "刚刚",
    "state.waiting": "等待发送",
    "state.sending": "发送中…",
    "state.failed": "未发送",
    "kind.photo": "照片",
    "kind.screenshot": "截图",
    "kind.document": "文档",
    "artifact.transcript": "语音转写",
    "artifact.ocr": "图片文字",
    "artifact.picture_kind": "图片类型",
    "artifact.document_text": "文档文字",
    "confidence": "把握 {percent}%",
    "error.bad_input": "消息中有无法使用的内容，请修改后重试。",
    "error.unsupported_type": "不支持这种文件。可以发送图片、语音、PDF、Word 和文本文件。",
    "error.bad_media": "文件已损坏，或内容与类型不符。请换一份，或发送截图。",
    "error.too_large": "文件太大，请发送小一些的文件。",
    "error.too_large.max": "文件太大（{size}），最大可发送 {max}。",
    "error.too_many_files": "一条消息最多 {max} 个文件，其余请分开发送。",
    "error.not_found": "内容已不存在。",
    "error.conflict": "当前无法进行此操作。",
    "error.denied": "没有权限。请刷新页面后重试。",
    "error.too_many": "发送太频繁，{seconds} 秒后自动继续。",
    "error.unavailable": "服务繁忙。消息已保存，恢复后会自动发送。",
    "error.network": "网络未连接。消息已保存，联网后会自动发送。",
    "error.unknown": "出了点问题，请重试。",
    "error.mic_denied": "麦克风被禁用。请在浏览器地址栏中允许使用麦克风，然后重试。",
    "error.mic_missing": "没有找到麦克风。请连接麦克风，或改用文字。",
    "error.camera_denied": "摄像头被禁用。请在浏览器地址栏中允许使用摄像头，或直接选择图片。",
    "error.camera_missing": "没有找到摄像头，请直接选择图片。",
    "error.insecure": "麦克风和摄像头只能在安全的（https）页面上使用。",
    "error.silent": "没有录到声音，请检查麦克风是否静音。",
  },
};

/** Adds a page's own words. @param {Record<Language, Record<string, string>>} words */
export function extend(words) {
  Object.assign(WORDS.en, words.en);
  Object.assign(WORDS.zh, words.zh);
}

/** Keys that one language has and the other lacks; a test wants none. */
export function untranslated() {
  const [en, zh] = [Object.keys(WORDS.en), Object.keys(WORDS.zh)];
  return [...en.filter((key) => !(key in WORDS.zh)), ...zh.filter((key) => !(key in WORDS.en))];
}

/** @param {Language} language @returns {Translate} */
export function translator(language) {
  const words = WORDS[language];
  return (key, params = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(params[name] ?? whole));
}

/**
 * The language to speak: what was asked for, else the page's, else the browser's, else English.
 * @param {string | null} [wanted] "zh", "en" or "auto"
 * @returns {Language}
 */
export function detectLanguage(wanted) {
  for (const tag of [wanted, document.documentElement.lang, ...navigator.languages]) {
    const primary = (tag ?? "").toLowerCase().split("-")[0];
    if (primary === "zh" || primary === "en") return primary;
  }
  return "en";
}

/** @param {Language} language */
export const localeOf = (language) => (language === "zh" ? "zh-CN" : "en-GB");

/** 14:05 of today, else with the day. @param {string} iso @param {Language} language */
export function formatTime(iso, language) {
  const date = new Date(iso);
  const today = new Date().toDateString() === date.toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const clock = { hour: "2-digit", minute: "2-digit", hour12: false };
  return date.toLocaleString(localeOf(language), today ? clock : { month: "short", day: "numeric", ...clock });
}

/** "3 min. ago". @param {string} iso @param {Language} language @param {number} [now] ms since the epoch */
export function formatAgo(iso, language, now = Date.now()) {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const relative = new Intl.RelativeTimeFormat(localeOf(language), { numeric: "auto", style: "short" });
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [unit, size] of steps) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return translator(language)("time.now");
}

/** 0:07, 12:30. @param {number} seconds */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${Math.round(bytes / 1024)} KB`;
  return `${(bytes / 1024 ** 2).toFixed(1).replace(/\.0$/, "")} MB`;
}

/**
 * A refusal in the reader's words, with what to do.
 * @param {{code?: string, retryAfter?: number | null}} error anything with a protocol `code`
 * @param {Translate} t
 */
export function errorText(error, t) {
  const key = `error.${error.code ?? "unknown"}`;
  const text = t(key, { seconds: Math.ceil(error.retryAfter ?? 5) });
  return text === key ? t("error.unknown") : text;
}
