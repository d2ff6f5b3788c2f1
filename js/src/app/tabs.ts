// The tabs of the drawer, from left to right: one line for each.
import type { FunctionComponent } from "preact";
import { createAttention } from "../features/attention/state";
import { AttentionPanel } from "../features/attention/View";
import { CodePanel } from "../features/code/View";
import { ComparePanel } from "../features/compare/View";
import { DataPanel } from "../features/data/View";
import { createFigure } from "../features/figure/state";
import { FigurePanel } from "../features/figure/View";
import { createGeneration } from "../features/generation/state";
import { GenerationPanel } from "../features/generation/View";
import { createPaths } from "../features/paths/state";
import { PathsPanel } from "../features/paths/View";
import { ReceiptsPanel } from "../features/receipts/View";
import { createSpecification } from "../features/specification/state";
import { SpecificationPanel } from "../features/specification/View";
import type { App } from "./app";

export interface Tab {
  name: string;
  title: string;
  View: FunctionComponent<{ app: App }>;
  /** Whether a saved page has something for it; without this it always has. */
  isKept?(app: App): boolean;
}

export const TABS: readonly Tab[] = [
  {
    name: "figure",
    title: "Figure",
    View: FigurePanel,
    isKept: (app) => app.use(createFigure).picture.value !== null,
  },
  { name: "code", title: "Code", View: CodePanel },
  { name: "compare", title: "Compare", View: ComparePanel },
  {
    name: "attention",
    title: "Attention",
    View: AttentionPanel,
    isKept: (app) => app.use(createAttention).patterns.value.length > 0,
  },
  {
    name: "paths",
    title: "Paths",
    View: PathsPanel,
    isKept: (app) => app.use(createPaths).shown.value !== null,
  },
  {
    name: "specification",
    title: "Is it real?",
    View: SpecificationPanel,
    isKept: (app) => !!app.use(createSpecification).curve.value?.rows.length,
  },
  {
    name: "generation",
    title: "Generate",
    View: GenerationPanel,
    isKept: (app) => app.use(createGeneration).shown.value !== null,
  },
  { name: "receipts", title: "Receipts", View: ReceiptsPanel },
  { name: "data", title: "Data", View: DataPanel },
];
