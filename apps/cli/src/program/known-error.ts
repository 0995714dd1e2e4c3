import { isLfmError, LfmError } from "@lfm/core";

/** What the file system says most often, in words. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "is not there",
  EACCES: "may not be opened",
  EPERM: "may not be opened",
  EISDIR: "is a folder where a file is wanted",
  ENOTDIR: "goes through a file as if it were a folder",
  ENOSPC: "has no room: the disk is full",
  EROFS: "lies on a disk that cannot be written",
  EMFILE: "cannot be opened: too many files are open",
};

/** An error of the file system as one that names the place; every other error as it is. */
export function knownError(error: unknown): unknown {
  if (isLfmError(error) || !(error instanceof Error)) return error;
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined || path === undefined) return error;
  return new LfmError("FILE_IO", `lfm: ${path} ${reasons[code] ?? `cannot be used (${code})`}`, {
    details: { file: path, errno: code, syscall },
    cause: error,
    hint: "look at the path, and who may read and write there",
  });
}
