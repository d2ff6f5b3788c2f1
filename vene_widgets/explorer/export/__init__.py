"""Exports of the explorer: pages, archives, captions, tables, share tokens, previews."""
