/**
 * Mathematics on the host, in f64, that knows nothing of models: for matrices of the size of a layer's input, a handful of variables, a few
 * thousand units. What runs over batches is traced and run by an engine instead.
 */
export { type Assignment, type AssignmentOptions, solveAssignment } from "./assignment.js";
export { cholesky, solveCholesky } from "./cholesky.js";
export { cmaEs, type PopulationCmaEsOptions } from "./cma-es.js";
export { type SymmetricEigen, symmetricEigen } from "./eigen.js";
export { type CmaEsOptions, elitistCmaEs } from "./elitist-cma-es.js";
export { addDigits, DIGITS, fromDigits } from "./exact-sum.js";
export { addInnerProducts, type Rows } from "./inner-products.js";
export { type LowRankOptions, lowRank } from "./low-rank.js";
export { dot, firstRows, identity, type Matrix, matrix, row, times, timesTransposed, transpose } from "./matrix.js";
export { type MinimiseOptions, type Minimum, minimise, type Search, type SearchPoint } from "./search.js";
export { type Svd, svd } from "./svd.js";
export { optimalTransport, type TransportPlan } from "./transport.js";
