"""From results and prepared splits to tables, figures, pictures and pages."""
