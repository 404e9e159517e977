/** What a folder of images is, and how one is opened. */
import type { FileTable } from "./file-table.js";

/** Images in class folders: `root/<class>/**`. */
export interface ImageFolder {
  /** Absolute path. */
  readonly root: string;
  /** Names of the class folders, sorted by code points; a label is a place in this list. */
  readonly classes: readonly string[];
  /** All images: by class, then by folder, then by name. */
  readonly files: FileTable;
  /** The label of each image. */
  readonly labels: Uint32Array;
}

export interface ImageFolderOptions {
  /** Told the number of images found so far, after each folder. */
  readonly onProgress?: (files: number) => void;
  /** Keep a list of what was found, so that the next time only changed folders are read. Default: true. */
  readonly index?: boolean;
  /** Where that list is kept. Default: the user's cache folder. */
  readonly cacheFolder?: string;
  /** Classes without any image are no failure. */
  readonly allowEmpty?: boolean;
  readonly signal?: AbortSignal;
}

/** The two halves of a data set, each a folder of class folders. */
export type Split = "train" | "val";
