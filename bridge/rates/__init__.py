"""Price sources: fetched, parsed and bounded here. The median and its guards are core.quote's."""
