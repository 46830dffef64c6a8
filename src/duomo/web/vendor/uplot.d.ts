// The types of what we use of vendor/uplot.js.
export interface Scale { min?: number; max?: number; time?: boolean; range?: (chart: uPlot, min: number, max: number) => [number, number] }
export interface Axis {
  scale?: string;
  stroke?: string;
  font?: string;
  size?: number | ((chart: uPlot, values: string[] | null) => number);
  space?: number;
  gap?: number;
  incrs?: number[];
  grid?: { show?: boolean; stroke?: string; width?: number };
  ticks?: { show?: boolean; stroke?: string; width?: number; size?: number };
  splits?: (chart: uPlot) => number[];
  values?: (chart: uPlot, splits: number[]) => (string | null)[];
}
export interface Series {
  label?: string;
  stroke?: string;
  fill?: string;
  width?: number;
  dash?: number[];
  paths?: unknown;
  points?: { show?: boolean; size?: number };
  spanGaps?: boolean;
}
export interface Options {
  width: number;
  height: number;
  padding?: (number | null)[];
  scales?: Record<string, Scale>;
  axes?: Axis[];
  series: Series[];
  bands?: { series: [number, number]; fill: string }[];
  legend?: { show?: boolean };
  cursor?: object;
  hooks?: Record<string, ((chart: uPlot) => void)[]>;
}
export default class uPlot {
  constructor(options: Options, data: (number | null | undefined)[][], target: HTMLElement);
  static paths: { bars?: (options: { size?: number[]; radius?: number }) => unknown };
  readonly root: HTMLElement;
  readonly over: HTMLElement;
  readonly ctx: CanvasRenderingContext2D;
  readonly bbox: { left: number; top: number; width: number; height: number };
  readonly cursor: { left?: number; top?: number; idx?: number | null };
  valToPos(value: number, scale: string, canvas?: boolean): number;
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
}
