// The shapes of docs/protocol.md.
export type Language = "zh" | "en";
export type Words = Record<Language, string>;
export type Status = "pending" | "open" | "snoozed" | "resolved";

export interface Workspace {
  name: string;
  title: Words;
  greeting: Words;
  bot_name: Words;
  languages: Language[];
  limits: { max_files: number; max_bytes: number; max_audio_s: number; accept: string[] };
  consent: "all" | "asked";
}

export interface Artifact {
  id: string;
  kind: "transcript" | "ocr" | "picture_kind" | "document_text";
  text: string;
  original_text: string | null;
  confidence: number;
  model: string;
  version: string;
  duration_ms: number;
  corrected_by: "customer" | "agent" | null;
  data: Record<string, any>;
}

export interface Part {
  id: string;
  kind: "image" | "audio" | "document";
  state: "received" | "ready" | "refused";
  mime: string;
  name: string;
  url: string | null;
  width?: number | null;
  height?: number | null;
  duration_s?: number | null;
  error?: { code: string; message: string } | null;
  artifacts: Artifact[];
}

export interface Citation {
  n: number;
  article_id: string;
  chunk_id: string;
  title: string;
  uri: string;
  quote: string;
  score: number;
  picture_url: string | null;
}

export interface Message {
  id: string;
  conversation_id: string;
  seq: number;
  author: "customer" | "bot" | "agent" | "system";
  agent?: { id: string; name: string } | null;
  kind: "text" | "answer" | "clarify" | "holding" | "handoff" | "note" | "notice" | "csat";
  private?: boolean;
  ai?: boolean;
  text: string;
  language: Language | null;
  created_at: string;
  feedback: "up" | "down" | null;
  parts: Part[];
  citations: Citation[];
  options: string[];
  decision?: Record<string, any>;
}

export interface Article {
  id: string;
  title: string;
  language: Language;
  uri: string;
  text: string;
  pictures: { url: string; alt: string }[];
}
