// The anywidget module: one screen per view, gone without a trace when the view goes.
// Base rules first, then the controls, each panel's own with the panel, the layout last.
import "./app/base.css";
import "./ui/controls.css";
import "./ui/panels.css";
import "./ui/tables.css";
import type { RenderProps } from "@anywidget/types";
import { render as paint } from "preact";
import { createApp } from "./app/app";
import { Screen } from "./app/Screen";
import { connect } from "./kernel/kernel";
import { watchTheme } from "./ui/theme";
import "./app/layout.css";
import "./app/contrast.css";

function render({ model, el, signal }: RenderProps): () => void {
  const root = document.createElement("div");
  root.className = "vene-host";
  el.append(root);
  const { theme, stop } = watchTheme(el);
  const app = createApp(connect(model), theme);
  app.onClose(stop);
  app.effect(() => {
    root.dataset.theme = theme.value;
    return undefined;
  });
  paint(<Screen app={app} />, root);

  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    paint(null, root);
    app.close();
    root.remove();
  };
  // Older front ends give no signal; all of them call what render returns.
  signal?.addEventListener("abort", close, { once: true });
  return close;
}

export default { render };
