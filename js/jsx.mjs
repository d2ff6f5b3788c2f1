// What JSX becomes in the bundle (build.mjs).
export { Fragment, h } from "preact";
