/** What commands are told. */

/** Flags that every command takes. */
export interface CommonOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly logLevel: string;
  readonly engine: string;
  readonly device?: string;
  readonly precision: string;
  readonly threads?: number;
  readonly seed: number;
}
