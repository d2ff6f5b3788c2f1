// Small line drawings; each stands in a button that has a name of its own.
import type { ComponentChildren } from "preact";

/** An icon of one path, in a square of 16. */
const drawn = (path: string) => () => (
  <Icon>
    <path d={path} />
  </Icon>
);

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="vene-icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      {children}
    </svg>
  );
}

export const EyeIcon = drawn(
  "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM6 8a2 2 0 0 0 4 0a2 2 0 0 0-4 0",
);

export const EyeOffIcon = drawn(
  "M6.3 3.8A6.3 6.3 0 0 1 8 3.5C12 3.5 14.5 8 14.5 8a11 11 0 0 1-2 2.5M4 5a11 11 0 0 0-2.5 3S4 12.5 8 12.5a6 6 0 0 0 3.2-.9M2.5 2.5l11 11",
);

export const LockIcon = drawn("M4 7.5h8v6H4ZM5.5 7.5V5.2a2.5 2.5 0 0 1 5 0v2.3");

export const CrossIcon = drawn("m4 4 8 8M12 4l-8 8");

export const PencilIcon = drawn(
  "m3 13 .7-3L10.5 3.2a1.2 1.2 0 0 1 1.7 0l.6.6a1.2 1.2 0 0 1 0 1.7L6 12.3 3 13Z",
);

export const UndoIcon = drawn("M5.5 3 2.5 6l3 3M2.5 6H9a4 4 0 0 1 0 8H6");

export const RedoIcon = drawn("m10.5 3 3 3-3 3M13.5 6H7a4 4 0 0 0 0 8h3");

export const DownloadIcon = drawn("M8 2.5v7M5 7l3 3 3-3M3 13h10");

export const PlusIcon = drawn("M8 3v10M3 8h10");

export const LinkIcon = drawn(
  "M6.5 9.5 9.5 6.5M7 4.5 8.5 3a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3.2 3.2 0 0 1 3 8.5L4.5 7",
);

export const UnlinkIcon = drawn(
  "M7 4.5 8.5 3a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3.2 3.2 0 0 1 3 8.5L4.5 7M2.5 2.5l11 11",
);

export const MoreIcon = drawn(
  "M2.5 5h5M11 5h2.5M2.5 11H5M8.5 11h5M7.5 5a1.7 1.7 0 0 0 3.4 0a1.7 1.7 0 0 0-3.4 0M5.1 11a1.7 1.7 0 0 0 3.4 0a1.7 1.7 0 0 0-3.4 0",
);

export const WarningIcon = drawn("M8 2.5 14.5 13.5h-13ZM8 6.5v3.5M8 11.8v.1");

export const GripIcon = () => (
  <Icon>
    <path d="M6 4v.1M6 8v.1M6 12v.1M10 4v.1M10 8v.1M10 12v.1" stroke-width="2" />
  </Icon>
);

export const CopyIcon = drawn("M6 6h7.5v7.5H6zM3.5 10H2.5V2.5H10v1");

export const CheckIcon = drawn("m3 8.5 3.5 3.5L13 4.5");

export const DashIcon = drawn("M4 8h8");

export const ChevronIcon = drawn("m4.5 6.5 3.5 3.5 3.5-3.5");

export const SwapIcon = drawn("M4.5 3 2 5.5 4.5 8M2 5.5h11M11.5 8 14 10.5 11.5 13M14 10.5H3");
