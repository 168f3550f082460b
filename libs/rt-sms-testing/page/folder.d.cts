/** The folder of the page's files. */
declare const folder: string;
export = folder;
