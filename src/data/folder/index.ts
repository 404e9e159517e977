/** Folders of images: what is in them, without opening an image. */
export { checkSameClasses, openDataset, relabel } from "./dataset.js";
export { FileTable, type SharedFileTable } from "./file-table.js";
export { openImageFolder } from "./image-folder.js";
export { EXTENSIONS, isImageName } from "./names.js";
export type { ImageFolder, ImageFolderOptions, Split } from "./types.js";
