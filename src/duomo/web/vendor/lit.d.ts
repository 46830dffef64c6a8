// The types of what we use of vendor/lit.js.
export interface TemplateResult { readonly _$litType$: unknown }
export declare const nothing: unique symbol;
export declare const noChange: unique symbol;
export interface CSSResult { readonly cssText: string; readonly styleSheet: CSSStyleSheet | undefined }
export declare function html(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export declare function svg(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export declare function css(strings: TemplateStringsArray, ...values: unknown[]): CSSResult;
export declare function unsafeCSS(value: unknown): CSSResult;
export declare function render(value: unknown, container: HTMLElement | DocumentFragment, options?: object): unknown;
export interface PropertyDeclaration {
  type?: unknown;
  attribute?: boolean | string;
  reflect?: boolean;
  state?: boolean;
  hasChanged?(value: unknown, old: unknown): boolean;
}
export type PropertyValues = Map<PropertyKey, unknown>;
export declare class LitElement extends HTMLElement {
  static properties: Record<string, PropertyDeclaration>;
  static styles: (CSSResult | CSSStyleSheet)[] | CSSResult | CSSStyleSheet;
  static shadowRootOptions: ShadowRootInit;
  readonly renderRoot: HTMLElement | ShadowRoot;
  readonly updateComplete: Promise<boolean>;
  readonly hasUpdated: boolean;
  readonly isUpdatePending: boolean;
  connectedCallback(): void;
  disconnectedCallback(): void;
  requestUpdate(name?: PropertyKey, oldValue?: unknown): void;
  protected createRenderRoot(): HTMLElement | ShadowRoot;
  protected willUpdate(changed: PropertyValues): void;
  protected update(changed: PropertyValues): void;
  protected firstUpdated(changed: PropertyValues): void;
  protected updated(changed: PropertyValues): void;
  protected render(): unknown;
}
export interface Ref<T = Element> { readonly value?: T }
export declare function createRef<T = Element>(): Ref<T>;
export declare function ref(target?: Ref<any> | ((element: Element | undefined) => void)): unknown;
export declare function repeat<T>(items: Iterable<T>, key: (item: T, index: number) => unknown, template: (item: T, index: number) => unknown): unknown;
export declare function classMap(classes: Record<string, boolean | string | number | undefined>): unknown;
export declare function styleMap(styles: Record<string, string | number | undefined | null>): unknown;
export declare function ifDefined<T>(value: T): NonNullable<T> | typeof nothing;
export declare function live(value: unknown): unknown;
export declare function keyed(key: unknown, value: unknown): unknown;
export declare function unsafeHTML(value: string): unknown;
export declare function until(...values: unknown[]): unknown;
