"""One worker or several, behind one small interface; threads of the matrix arithmetic."""
