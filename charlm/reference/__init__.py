"""The textbook: each cell as one function of one step, forward and backward, slow and plain.

Nothing here is batched, packed or in place. Vectors are columns: x (D,), h (H,), and a matrix stands left of what it
multiplies, W (H, D) and U (H, H). (The fast cells in charlm.nn have rows: x W with W (D, H), the transpose.)
The tests compare the fast cells with these functions; students can compare their exercises. docs/equations.md lists the
forms in which notes have them.

The update gate weights the candidate: h' = (1 - z) h + z n. In PyTorch, Keras, ONNX and some texts z keeps the old
state: h' = z h + (1 - z) n. To convert, negate W_z, U_z and b_z, because sigmoid(-a) = 1 - sigmoid(a); their gradients
change sign, too.
"""

from charlm.reference.gru import GRU_Cell as GRU_Cell
from charlm.reference.gru import GRUCell as GRUCell
from charlm.reference.gru import gru_cell as gru_cell
from charlm.reference.gru import gru_cell_backward as gru_cell_backward
from charlm.reference.gru import gru_cell_reset_after as gru_cell_reset_after
from charlm.reference.gru import gru_cell_reset_after_backward as gru_cell_reset_after_backward
from charlm.reference.gru import gru_forward as gru_forward
from charlm.reference.gru import gru_gates as gru_gates
from charlm.reference.gru import gru_row_step as gru_row_step
from charlm.reference.gru import gru_sequence as gru_sequence
from charlm.reference.gru import gru_step as gru_step
from charlm.reference.lstm import lstm_cell as lstm_cell
from charlm.reference.lstm import lstm_cell_backward as lstm_cell_backward
from charlm.reference.rnn import rnn_backpropagation as rnn_backpropagation
from charlm.reference.rnn import rnn_cell as rnn_cell
from charlm.reference.rnn import rnn_cell_backward as rnn_cell_backward
from charlm.reference.shapes import sigmoid as sigmoid
