/** Drawings that stand outside of the report too. */
export { type HeatMap, heatMapParts, heatMapSize } from "./report/heat-map.js";
export { el } from "./report/markup.js";
export { svgFile } from "./report/svg-file.js";
