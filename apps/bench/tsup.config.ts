import { packageBuild } from "../../tsup.base.js";

export default packageBuild(import.meta.dirname, ["src/run-worker.ts", "src/merge-files-worker.ts"]);
