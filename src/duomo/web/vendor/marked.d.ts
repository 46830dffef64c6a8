export declare const marked: { parse(text: string, options?: Record<string, unknown>): string };
