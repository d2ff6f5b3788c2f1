// The head of a table's column.
import type { JSX } from "preact";

export const ColumnHead = (props: JSX.IntrinsicElements["th"]) => <th scope="col" {...props} />;
