"""The board page: patient, answer, pictures, burden, open points, on one sheet."""
