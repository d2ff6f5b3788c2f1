// Small line drawings; each stands in a button that has a name of its own.
import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="vene-icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      {children}
    </svg>
  );
}

export const EyeIcon = () => (
  <Icon>
    <path d="M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8Z" />
    <circle cx="8" cy="8" r="2" />
  </Icon>
);

export const EyeOffIcon = () => (
  <Icon>
    <path d="M6.3 3.8A6.3 6.3 0 0 1 8 3.5C12 3.5 14.5 8 14.5 8a11 11 0 0 1-2 2.5M4 5a11 11 0 0 0-2.500 3S4 12.500 8 12.500a6 6 0 0 0 3.200-.9M2.500 2.500l11 11" />
  </Icon>
);

export const CrossIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
);

export const PencilIcon = () => (
  <Icon>
    <path d="m3 13 .7-3L10.500 3.200a1.200 1.200 0 0 1 1.700 0l.6.6a1.200 1.200 0 0 1 0 1.700L6 12.300 3 13Z" />
  </Icon>
);

export const UndoIcon = () => (
  <Icon>
    <path d="M5.500 3 2.500 6l3 3M2.500 6H9a4 4 0 0 1 0 8H6" />
  </Icon>
);

export const RedoIcon = () => (
  <Icon>
    <path d="m10.500 3 3 3-3 3M13.500 6H7a4 4 0 0 0 0 8h3" />
  </Icon>
);

export const DownloadIcon = () => (
  <Icon>
    <path d="M8 2.500v7M5 7l3 3 3-3M3 13h10" />
  </Icon>
);

export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);
