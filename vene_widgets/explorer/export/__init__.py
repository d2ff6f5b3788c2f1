"""What leaves the explorer: pages, archives, captions, share tokens, previews."""
