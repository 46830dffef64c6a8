/** Hands every block of the microphone to the page: 1024 mono samples at the context's rate. */
class PcmTap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(1024);
    this.filled = 0;
    this.port.onmessage = () => {
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(null); // everything recorded has been handed over
      this.ended = true;
    };
  }

  process(inputs) {
    const channels = inputs[0];
    if (channels.length) {
      const frames = channels[0].length;
      for (let i = 0; i < frames; i += 1) {
        let sum = 0;
        for (const channel of channels) sum += channel[i];
        this.block[this.filled] = sum / channels.length;
        this.filled += 1;
        if (this.filled === this.block.length) {
          this.port.postMessage(this.block.slice());
          this.filled = 0;
        }
      }
    }
    return !this.ended;
  }
}

registerProcessor("duomo-pcm-tap", PcmTap);
