// Style sheets are imported where they belong; esbuild collects them into one.
declare module "*.css";
