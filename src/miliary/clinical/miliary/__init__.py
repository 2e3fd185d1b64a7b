"""Published definitions of a miliary pattern, recorded and measured."""
