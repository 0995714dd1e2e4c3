/** Names that Windows keeps for devices, whatever follows behind a dot. */
const DEVICES = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i;

/** File systems take 255 bytes; what is written beside a name needs some of them. */
const MAX_NAME_BYTES = 200;

/**
 * Why a name that came out of a file cannot stand for one file or folder inside another, on any system; undefined where it can.
 * Worded to follow the name: `"../x" leads out of the folder`.
 */
export function nameFlaw(name: string): string | undefined {
  if (name === "") return "is empty";
  if (name === "." || name === ".." || /[/\\]/.test(name)) return "leads out of the folder";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name)) return "holds a control character";
  if (/[<>:"|?*]/.test(name)) return `holds one of < > : " | ? *`;
  if (/[. ]$/.test(name)) return "ends with a dot or a space";
  if (DEVICES.test(name)) return "is the name of a device on Windows";
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `is longer than ${MAX_NAME_BYTES} bytes`;
  return undefined;
}

/** The same for a path of several names with / between them: it stays below the folder that it is put behind. */
export function pathFlaw(path: string): string | undefined {
  for (const name of path.split("/")) {
    const flaw = nameFlaw(name);
    if (flaw !== undefined) return name === "" ? "leads out of the folder" : flaw;
  }
  return undefined;
}
