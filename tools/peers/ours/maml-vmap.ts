export { prepare } from "../maml.js";
