declare const purify: { sanitize(dirty: string, options?: Record<string, unknown>): any };
export default purify;
