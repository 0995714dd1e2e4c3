import { testSuite } from "./vitest.base.js";

export default testSuite("real");
