// @ts-check
/** Microphone and camera. Errors carry a `code` that i18n.errorText knows: mic_denied, camera_missing, insecure, … */

export const SAMPLING_RATE = 16_000; // Hz

export class CaptureError extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** @param {MediaStreamConstraints} constraints @param {"mic" | "camera"} device */
async function open(constraints, device) {
  if (!navigator.mediaDevices?.getUserMedia) throw new CaptureError("insecure");
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    throw new CaptureError(`${device}_${name === "NotAllowedError" || name === "SecurityError" ? "denied" : "missing"}`);
  }
}

/**
 * @typedef {object} VoiceNote
 * @property {File} file audio/wav, 16 kHz, mono, 16 bit
 * @property {number} duration seconds
 * @property {number[]} peaks about 48 loudness values in [0, 1], for drawing
 */

/** Records one voice note: `start`, then `stop` (a VoiceNote) or `cancel`. */
export class Recorder {
  /** @type {Float32Array[]} */
  #blocks = [];
  #samples = 0;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AudioWorkletNode | null} */
  #tap = null;

  /**
   * @param {object} options
   * @param {(level: number, seconds: number) => void} [options.onLevel] loudness in [0, 1], about 45 times a second
   * @param {number} [options.maxSeconds] `onFull` is called once when this much is recorded
   * @param {() => void} [options.onFull]
   */
  constructor({ onLevel = () => {}, maxSeconds = Infinity, onFull = () => {} } = {}) {
    this.onLevel = onLevel;
    this.maxSeconds = maxSeconds;
    this.onFull = onFull;
  }

  get seconds() {
    return this.#context ? this.#samples / this.#context.sampleRate : 0;
  }

  async start() {
    this.#stream = await open({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } }, "mic");
    try {
      this.#context = new AudioContext();
      await this.#context.audioWorklet.addModule(new URL("./pcm-worklet.js", import.meta.url).href);
      if (!this.#context) return; // cancelled meanwhile
      const source = this.#context.createMediaStreamSource(this.#stream);
      this.#tap = new AudioWorkletNode(this.#context, "duomo-pcm-tap", { numberOfOutputs: 0 });
      this.#tap.port.onmessage = ({ data }) => data && this.#take(data);
      source.connect(this.#tap);
      await this.#context.resume();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** @param {Float32Array} block */
  #take(block) {
    if (!this.#context || this.seconds >= this.maxSeconds) return;
    this.#blocks.push(block);
    this.#samples += block.length;
    this.onLevel(loudness(block), this.seconds);
    if (this.seconds >= this.maxSeconds) this.onFull();
  }

  /** @returns {Promise<VoiceNote>} */
  async stop() {
    const [context, tap] = [this.#context, this.#tap];
    if (!context || !tap) throw new CaptureError("silent");
    await new Promise((resolve) => {
      tap.port.onmessage = ({ data }) => (data ? this.#take(data) : resolve(undefined));
      tap.port.postMessage("end");
      setTimeout(resolve, 500);
    });
    const rate = context.sampleRate;
    this.#release();
    const pcm = await resample(joined(this.#blocks, this.#samples), rate);
    if (pcm.length < SAMPLING_RATE / 5) throw new CaptureError("silent");
    const file = new File([wav(pcm)], "voice-note.wav", { type: "audio/wav" });
    return { file, duration: pcm.length / SAMPLING_RATE, peaks: peaksOf(pcm, 48) };
  }

  cancel() {
    this.#release();
    this.#blocks = [];
    this.#samples = 0;
  }

  #release() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    this.#stream = this.#context = this.#tap = null;
  }
}

/** Loudness as the eye expects it: -60 dBFS is 0, 0 dBFS is 1. @param {Float32Array} block */
function loudness(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  const decibel = 10 * Math.log10(sum / block.length + 1e-10);
  return Math.min(1, Math.max(0, (decibel + 60) / 60));
}

/** @param {Float32Array[]} blocks @param {number} samples */
function joined(blocks, samples) {
  const all = new Float32Array(samples);
  let at = 0;
  for (const block of blocks) {
    all.set(block, at);
    at += block.length;
  }
  return all;
}

/**
 * The browser's own band-limited resampler; recording at 16 kHz directly is impossible in Firefox.
 * @param {Float32Array} samples
 * @param {number} rate Hz
 */
async function resample(samples, rate) {
  const length = Math.ceil((samples.length * SAMPLING_RATE) / rate);
  if (!length) return new Float32Array(0);
  if (rate === SAMPLING_RATE) return samples;
  const offline = new OfflineAudioContext(1, length, SAMPLING_RATE);
  const buffer = offline.createBuffer(1, samples.length, rate);
  buffer.getChannelData(0).set(samples);
  const source = offline.createBufferSource();
  source.buffer = buffer;
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}

/** RIFF/WAVE, PCM 16 bit little endian. @param {Float32Array} samples in [-1, 1] at SAMPLING_RATE @returns {ArrayBuffer} */
export function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  /** @param {number} at @param {string} text */
  const ascii = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, SAMPLING_RATE, true);
  view.setUint32(28, SAMPLING_RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  ascii(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, i) => view.setInt16(44 + i * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return view.buffer;
}

/** @param {Float32Array} samples @param {number} count @returns {number[]} */
export function peaksOf(samples, count) {
  const size = Math.max(1, Math.floor(samples.length / count));
  const peaks = Array.from({ length: Math.min(count, samples.length) }, (_, i) => loudness(samples.subarray(i * size, (i + 1) * size)));
  return peaks;
}

/** A live camera picture and its shutter. */
export class Camera {
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {"environment" | "user"} */
  facing = "environment";

  /** @param {HTMLVideoElement} video shows the preview */
  constructor(video) {
    this.video = video;
  }

  async open() {
    this.close();
    const stream = await open({ video: { facingMode: { ideal: this.facing }, width: { ideal: 1920 }, height: { ideal: 1440 } } }, "camera");
    this.#stream = stream;
    this.video.srcObject = stream;
    this.video.muted = true;
    this.video.playsInline = true;
    await this.video.play();
  }

  /** The other camera of a phone. */
  async flip() {
    this.facing = this.facing === "environment" ? "user" : "environment";
    await this.open();
  }

  /** @returns {Promise<File>} image/jpeg at the camera's own size */
  async shoot() {
    const canvas = new OffscreenCanvas(this.video.videoWidth, this.video.videoHeight);
    const context = canvas.getContext("2d");
    if (!context || !canvas.width) throw new CaptureError("camera_missing");
    context.drawImage(this.video, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    return new File([blob], `photo-${stamp()}.jpg`, { type: "image/jpeg" });
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.video.srcObject = null;
  }
}

/** 20261123-140509, local time. */
function stamp() {
  const now = new Date();
  const digits = [now.getFullYear(), now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()]
    .map((value) => String(value).padStart(2, "0"));
  return `${digits.slice(0, 3).join("")}-${digits.slice(3).join("")}`;
}

/** @param {string} type MIME @param {string} [name] @returns {"image" | "audio" | "document"} */
export function kindOf(type, name = "") {
  if (type.startsWith("image/") || /\.(png|jpe?g|webp|gif|heic|heif)$/i.test(name)) return "image";
  if (type.startsWith("audio/") || /\.(wav|mp3|m4a|ogg|oga|opus|webm|flac|amr)$/i.test(name)) return "audio";
  return "document";
}

/**
 * A picture made small enough to send: re-encoded with a long side of at most 2560 px when it is over `maxBytes`.
 * What the browser cannot decode (HEIC outside Safari) passes unchanged; the server says what it thinks of it.
 * @param {File} file
 * @param {number} maxBytes
 * @returns {Promise<File>}
 */
export async function fitPicture(file, maxBytes) {
  if (file.size <= maxBytes || kindOf(file.type, file.name) !== "image") return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file;
  }
  const scale = Math.min(1, 2560 / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.88 });
  return new File([blob], file.name.replace(/\.\w+$/, "") + ".jpg", { type: "image/jpeg" });
}
