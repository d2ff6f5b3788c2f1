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

export const LinkIcon = () => (
  <Icon>
    <path d="M6.5 9.5 9.500 6.500M7 4.500 8.500 3a3.200 3.200 0 0 1 4.500 4.500L11.500 9M9 11.500 7.500 13A3.200 3.200 0 0 1 3 8.500L4.500 7" />
  </Icon>
);

export const UnlinkIcon = () => (
  <Icon>
    <path d="M7 4.500 8.500 3a3.200 3.200 0 0 1 4.500 4.500L11.500 9M9 11.500 7.500 13A3.200 3.200 0 0 1 3 8.500L4.500 7M2.500 2.500l11 11" />
  </Icon>
);

export const MoreIcon = () => (
  <Icon>
    <path d="M2.500 5h5M11 5h2.500M2.500 11H5M8.500 11h5" />
    <circle cx="9.200" cy="5" r="1.700" />
    <circle cx="6.800" cy="11" r="1.700" />
  </Icon>
);

export const WarningIcon = () => (
  <Icon>
    <path d="M8 2.500 14.500 13.500h-13ZM8 6.500v3.500M8 11.800v.1" />
  </Icon>
);

export const GripIcon = () => (
  <Icon>
    <path d="M6 4v.1M6 8v.1M6 12v.1M10 4v.1M10 8v.1M10 12v.1" stroke-width="2" />
  </Icon>
);

export const CopyIcon = () => (
  <Icon>
    <path d="M6 6h7.500v7.500H6zM3.500 10H2.500V2.500H10v1" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon>
    <path d="m3 8.500 3.500 3.500L13 4.500" />
  </Icon>
);

export const DashIcon = () => (
  <Icon>
    <path d="M4 8h8" />
  </Icon>
);

export const ChevronIcon = () => (
  <Icon>
    <path d="m4.500 6.500 3.500 3.500 3.500-3.500" />
  </Icon>
);

export const SwapIcon = () => (
  <Icon>
    <path d="M4.500 3 2 5.500 4.500 8M2 5.500h11M11.500 8 14 10.500 11.500 13M14 10.500H3" />
  </Icon>
);
