"""Cells of the notebook language, right and wrong, each with what it must show.

Cells are parted by `===`, a cell and its answer by `~~~`. The answer of a good cell is
what `facts` of SETUP says of its model; that of a wrong one all the text it shows.
"""

SETUP = """
import jax.numpy as jnp
import numpy as np
import pandas as pd
import kerasnb as keras
%load_ext kerasnb
===
rng = np.random.default_rng(0)
x_train = rng.normal(size=(60, 4)).astype("float32")
y_train = np.arange(60) % 3
y_bad = np.where(y_train == 2, 7, y_train)
onehot = np.eye(3)[y_train]
images = np.zeros((20, 28, 28), "uint8")
labels = np.arange(20) % 10
texts = np.array(["a", "b"] * 30)
nans = x_train * np.nan
frame = pd.DataFrame({"age": [1.0, 2.0], "name": ["a", "b"]})
width, depth = 8, 3
===
class Broken(keras.layers.Layer):
    def call(self, x):
        return x + self.missing

def bad_block(n):
    return keras.layers.Dense(n, activaton="relu")

def facts(model):
    kinds = [type(layer).__name__ for layer in model.layers]
    kinds = " ".join(kind for kind in kinds if kind != "InputLayer")
    loss = model.loss if model.compiled else None
    return f"{kinds} | {model.input_shape} -> {model.output_shape} | {loss}"
===
%%kmodel base --input 4 --quiet
Dense(4)
===
%%kmodel bare --input 4 --quiet
Dense(3)
===
%%kmodel clf --input x_train --optimizer adam --loss auto --metrics accuracy --quiet
Dense(8, activation="relu")
Dense(3, activation="softmax")
===
%%kmodel sig --input x_train --optimizer adam --loss auto --quiet
Dense(1, activation="sigmoid")
===
%%kmodel forgot --input 4,4 --optimizer adam --loss sparse_categorical_crossentropy --quiet
Dense(3, activation="softmax")
"""  # noqa: E501

GOOD = '''
%%kmodel net --input 4
Dense(3)
~~~
Dense | (None, 4) -> (None, 3) | None
===
%%kmodel net --input 28,28,1 --loss auto
Rescaling(1 / 255)
for filters in (4, 8):
    Conv2D(filters, 3, padding="same", activation="relu")
    skip = x
    Conv2D(filters, 3, padding="same", activation="relu")
    x = Add()([x, skip])
    MaxPooling2D()
Flatten()
Dense(10, activation="softmax")
~~~
Rescaling Conv2D Conv2D Add MaxPooling2D Conv2D Conv2D Add MaxPooling2D Flatten Dense | (None, 28, 28, 1) -> (None, 10) | sparse_categorical_crossentropy
===
%%kmodel net --input x_train --optimizer adam --loss auto --target y_train --metrics accuracy
Dense(8, activation="relu")
Dense(3)
~~~
Dense Dense | (None, 4) -> (None, 3) | <SparseCategoricalCrossentropy name=sparse_categorical_crossentropy>
===
%%kmodel net --input x_train --loss auto --target onehot
Dense(3, activation="softmax")
~~~
Dense | (None, 4) -> (None, 3) | categorical_crossentropy
===
%%kmodel net --input x_train --loss auto
Dense(1, activation="sigmoid")
~~~
Dense | (None, 4) -> (None, 1) | binary_crossentropy
===
%%kmodel net --input left=4 --input right=3
x = Concatenate()([left, right])
Dense(2)
~~~
Concatenate Dense | [(None, 4), (None, 3)] -> (None, 2) | None
===
%%kmodel net --input words=10 --input image=8,8,1
words = Embedding(50, 4)(words)
words = GlobalAveragePooling1D()(words)
x = image
Conv2D(4, 3)
GlobalAveragePooling2D()
x = Concatenate()([x, words])
Dense(2)
~~~
Conv2D Embedding GlobalAveragePooling2D GlobalAveragePooling1D Concatenate Dense | [(None, 10), (None, 8, 8, 1)] -> (None, 2) | None
===
%%kmodel net
Input((5,), name="five")
Dense(2)
~~~
Dense | (None, 5) -> (None, 2) | None
===
%%kmodel net
a = Input((3,), name="a")
b = Input((3,), name="b")
inputs = [b, a]
x = Subtract()([a, b])
Dense(1)
~~~
Subtract Dense | [(None, 3), (None, 3)] -> (None, 1) | None
===
%%kmodel net
Dense(2, input_shape=(6,))
ReLU()
~~~
Dense ReLU | (None, 6) -> (None, 2) | None
===
%%kmodel net --input 4
Dense(8, activation="relu")
outputs = [Dense(1, name="age")(x), Dense(3, activation="softmax", name="kind")(x)]
~~~
Dense Dense Dense | (None, 4) -> [(None, 1), (None, 3)] | None
===
%%kmodel net --input 4 --loss auto
Dense(8)
outputs = {"age": Dense(1, name="age")(x), "kind": Dense(3, activation="softmax", name="kind")(x)}
~~~
Dense Dense Dense | (None, 4) -> {'age': (None, 1), 'kind': (None, 3)} | ['mean_squared_error', 'sparse_categorical_crossentropy']
===
%%kmodel net --input 4
def block(x, units):
    Dense(units)
    BatchNormalization()
    ReLU()
    return x
x = block(x, 8)
x = block(x, 4)
~~~
Dense BatchNormalization ReLU Dense BatchNormalization ReLU | (None, 4) -> (None, 4) | None
===
%%kmodel net --input 4
def block(units):
    """Words."""
    skip = x
    Dense(units, activation="relu")
    Dense(4)
    return Add()([x, skip])
x = block(8)
x = block(6)
~~~
Dense Dense Add Dense Dense Add | (None, 4) -> (None, 4) | None
===
%%kmodel net --input 4
[Dense(8), ReLU(), Dropout(0.1)]
Dense(2), Softmax()
~~~
Dense ReLU Dropout Dense Softmax | (None, 4) -> (None, 2) | None
===
%%kmodel net --input 4
[Dense(n, activation="tanh") for n in (8, 4, 2)]
~~~
Dense Dense Dense | (None, 4) -> (None, 2) | None
===
%%kmodel net --input 4
shared = Dense(4)
shared
ReLU()
shared
~~~
Dense ReLU | (None, 4) -> (None, 4) | None
===
%%kmodel net --input 4
n = 16
while n > 2:
    Dense(n)
    n //= 2
~~~
Dense Dense Dense | (None, 4) -> (None, 4) | None
===
%%kmodel net --input 4
if width > 4:
    Dense(width)
else:
    Dense(1)
~~~
Dense | (None, 4) -> (None, 8) | None
===
%%kmodel net --input 4
match depth:
    case 1:
        Dense(1)
    case 3:
        Dense(3); Dense(2)
~~~
Dense Dense | (None, 4) -> (None, 2) | None
===
%%kmodel net --input 4
# The first layer.

Dense(  # units
    8,

    activation="relu",
)
# The end.
~~~
Dense | (None, 4) -> (None, 8) | None
===
%%kmodel net --input 4
x = Dense(4)(x) + x
x = x * 2 - 1
~~~
Dense | (None, 4) -> (None, 4) | None
===
%%kmodel net --input 6,4
x = x[:, -1]
Dense(2)
~~~
Dense | (None, 6, 4) -> (None, 2) | None
===
%%kmodel net --input 4
x = keras.ops.relu(x)
x = keras.ops.concatenate([x, -x], axis=-1)
Dense(2)
~~~
Dense | (None, 4) -> (None, 2) | None
===
%%kmodel net --input 4
base
Dense(2)
~~~
Functional Dense | (None, 4) -> (None, 2) | None
===
%%kmodel net --input a=4 --input b=4
x = Add()([base(a), base(b)])
~~~
Functional Add | [(None, 4), (None, 4)] -> (None, 4) | None
===
%%kmodel net --input 10
Embedding(100, 8)
LSTM(4, return_sequences=True)
Bidirectional(GRU(3))
Dense(1)
~~~
Embedding LSTM Bidirectional Dense | (None, 10) -> (None, 1) | None
===
%%kmodel net --input 6,8
skip = x
LayerNormalization()
x = MultiHeadAttention(2, 4)(x, x)
x = x + skip
Dense(3)
~~~
LayerNormalization MultiHeadAttention Dense | (None, 6, 8) -> (None, 6, 3) | None
===
%%kmodel net --input 8,8,3
x = concatenate([Conv2D(2, size, padding="same")(x) for size in (1, 3, 5)])
GlobalMaxPooling2D()
~~~
Conv2D Conv2D Conv2D Concatenate GlobalMaxPooling2D | (None, 8, 8, 3) -> (None, 6) | None
===
%%kmodel net --input 16,16,3
DepthwiseConv2D(3, padding="same", depth_multiplier=2)
SeparableConv2D(4, 3, strides=2)
Conv2DTranspose(2, 3, strides=2)
UpSampling2D()
Cropping2D(3)
ZeroPadding2D(1)
~~~
DepthwiseConv2D SeparableConv2D Conv2DTranspose UpSampling2D Cropping2D ZeroPadding2D | (None, 16, 16, 3) -> (None, 26, 26, 2) | None
===
%%kmodel net --input 12,3
Conv1D(4, 3, padding="causal", dilation_rate=2)
AveragePooling1D(2)
Permute((2, 1))
Flatten()
RepeatVector(3)
Reshape((4, -1))
~~~
Conv1D AveragePooling1D Permute Flatten RepeatVector Reshape | (None, 12, 3) -> (None, 4, 18) | None
===
%%kmodel net --input 4,4,4,1
Conv3D(2, 2)
MaxPooling3D((3, 3, 3))
Flatten()
~~~
Conv3D MaxPooling3D Flatten | (None, 4, 4, 4, 1) -> (None, 2) | None
===
%%kmodel net --input 4 --optimizer {SGD(0.5, momentum=0.9)} --loss {MeanSquaredError()} --metrics mae,mse
Dense(1)
~~~
Dense | (None, 4) -> (None, 1) | <MeanSquaredError name=mean_squared_error>
===
%%kmodel net --input 4 --optimizer adam --learning-rate {ExponentialDecay(0.1, 100, 0.5)} --loss mse
Dense(1)
~~~
Dense | (None, 4) -> (None, 1) | mse
===
%%kmodel net --input 4 --optimizer rmsprop --learning-rate 0.25 --loss mse --no-jit
Dense(1)
~~~
Dense | (None, 4) -> (None, 1) | mse
===
%%kmodel net --input 4 --dtype mixed_bfloat16
Dense(8)
Dense(2, dtype="float32")
~~~
Dense Dense | (None, 4) -> (None, 2) | None
===
%%kmodel net --input {(2 * 2,)} --seed 1
Dense(3, kernel_initializer="he_normal", kernel_regularizer="l2", bias_constraint="non_neg")
~~~
Dense | (None, 4) -> (None, 3) | None
===
%%kmodel net --input 28, 28
Flatten()
Dense(2)
~~~
Flatten Dense | (None, 28, 28) -> (None, 2) | None
===
%%kmodel net --input 4
Dense(6, kernel_regularizer=keras.regularizers.L1(0.01), use_bias=False)
LeakyReLU(negative_slope=0.1)
GaussianNoise(0.1)
UnitNormalization()
~~~
Dense LeakyReLU GaussianNoise UnitNormalization | (None, 4) -> (None, 6) | None
===
%%kmodel net --input 4
try:
    Dense(nothing)
except NameError:
    Dense(2)
finally:
    ReLU()
~~~
Dense ReLU | (None, 4) -> (None, 2) | None
===
%%kmodel net --input 4
from contextlib import nullcontext
with nullcontext(7) as units:
    Dense(units)
print("said")
~~~
Dense | (None, 4) -> (None, 7) | None
===
%%kmodel net --input 5,4
TimeDistributed(Dense(3))
GRU(2, return_sequences=True)
Masking()
GlobalMaxPooling1D()
~~~
TimeDistributed GRU Masking GlobalMaxPooling1D | (None, 5, 4) -> (None, 2) | None
===
%%kmodel net --input 4
gate = Dense(4, activation="sigmoid")(x)
x = Multiply()([x, gate])
x = Maximum()([x, Minimum()([x, gate])])
x = Dot(axes=1)([x, gate])
~~~
Dense Multiply Minimum Maximum Dot | (None, 4) -> (None, 1) | None
===
%%kmodel net --input images
Rescaling(1 / 255)
Reshape((28, 28, 1))
Conv2D(2, (5, 3), strides=(2, 1))
SpatialDropout2D(0.2)
Flatten()
~~~
Rescaling Reshape Conv2D SpatialDropout2D Flatten | (None, 28, 28) -> (None, 624) | None
'''  # noqa: E501

WRONG = """
%%kmodel net --input 4
Dens(3)
~~~
%%kmodel net, line 2:  Dens(3)
                       ^^^^
`Dens` is not defined. Did you mean "Dense"?
===
%%kmodel net --input 4
dense(3)
~~~
%%kmodel net, line 2:  dense(3)
                       ^^^^^
`dense` is not defined. Did you mean "Dense"?
===
%%kmodel net --input 4
Dense(10, activaton="relu")
~~~
%%kmodel net, line 2:  Dense(10, activaton="relu")
                                 ^^^^^^^^^
Dense has no argument `activaton`. Did you mean "activation"?
===
%%kmodel net --input 4
Dense(10, activation="relue")
~~~
%%kmodel net, line 2:  Dense(10, activation="relue")
                                             ^^^^^
Dense: unknown activation "relue". Did you mean "relu"?
===
%%kmodel net --input 4
Dense(10, activation=relu)
~~~
%%kmodel net, line 2:  Dense(10, activation=relu)
                                            ^^^^
`relu` is not defined.
If its name is meant, write it in quotes: "relu".
===
%%kmodel net --input 4
Dense(10 activation="relu")
~~~
%%kmodel net, line 2:
    Dense(10 activation="relu")
          ^
Invalid syntax. Perhaps you forgot a comma?
===
%%kmodel net --input 4
Dense(10, activation="relu"
Dense(3)
~~~
%%kmodel net, line 2:
    Dense(10, activation="relu"
         ^
'(' was never closed.
===
%%kmodel net --input 4
Dense(10, activation="relu)
Dense(3)
~~~
%%kmodel net, line 2:
    Dense(10, activation="relu)
                         ^
Unterminated string literal (detected at line 2).
===
%%kmodel net --input 4
Dense(10))
~~~
%%kmodel net, line 2:
    Dense(10))
             ^
Unmatched ')'.
===
%%kmodel net --input 4
for n in (3, 4)
    Dense(n)
~~~
%%kmodel net, line 2:
    for n in (3, 4)
                   ^
Expected ':'.
===
%%kmodel net --input 4
for n in (3, 4):
Dense(n)
~~~
%%kmodel net, line 3:
    Dense(n)
    ^
Expected an indented block after 'for' statement on line 2.
===
%%kmodel net --input 4
Dense(3)
  Dense(4)
~~~
%%kmodel net, line 3:
    Dense(4)
    ^
Unexpected indent.
===
%%kmodel net --input 4
for n in (3, 4):
    Dense(n)
\tDropout(0.5)
~~~
%%kmodel net, line 4:
    Dropout(0.5)
    ^
Inconsistent use of tabs and spaces in indentation.
===
%%kmodel net --input 4
Dense
~~~
%%kmodel net, line 2:  Dense
                       ^^^^^
Dense is a class, not a layer.
Write Dense().
===
%%kmodel net --input 4
Dense()
~~~
%%kmodel net, line 2:  Dense()
                       ^^^^^
Dense needs `units`.
===
%%kmodel net --input 4
Dense(-3)
~~~
%%kmodel net, line 2:  Dense(-3)
                             ^^
Dense: `units` must be a positive integer, not -3.
===
%%kmodel net --input 4
Dense("3")
~~~
%%kmodel net, line 2:  Dense("3")
                              ^
Dense: `units` must be a positive integer, not '3'.
===
%%kmodel net --input 4
Dense(3.5)
~~~
%%kmodel net, line 2:  Dense(3.5)
                             ^^^
Dense: `units` must be a positive integer, not 3.5.
===
%%kmodel net --input 4
Dense(64, 32)
~~~
%%kmodel net, line 2:  Dense(64, 32)
                                 ^^
Dense: 32 is not an activation: pass a name such as "relu", an object or a function.
===
%%kmodel net --input 4
Dropout(50)
~~~
%%kmodel net, line 2:  Dropout(50)
                               ^^
Dropout: `rate` must be a number from 0 to 1, not 50.
===
%%kmodel net --input 28,28
Conv2D(32, 3)
~~~
%%kmodel net, line 2:  Conv2D(32, 3)
                       ^^^^^^
Conv2D expects at least 4 axes and got the shape (None, 28, 28).
The input has no channels; add one with --input 28,28,1, or begin with Reshape((28, 28, 1)).
===
%%kmodel net --input 784
Conv2D(32, 3)
~~~
%%kmodel net, line 2:  Conv2D(32, 3)
                       ^^^^^^
Conv2D expects at least 4 axes and got the shape (None, 784).
The samples are flat, 784 numbers each; if they are pictures, begin with Reshape((28, 28, 1)).
===
%%kmodel net --input 28,28,1
Conv2D(32)
~~~
%%kmodel net, line 2:  Conv2D(32)
                       ^^^^^^
Conv2D needs `kernel_size`.
===
%%kmodel net --input 28,28,1
Conv2D(32, 3, 3, padding="smae")
~~~
%%kmodel net, line 2:  Conv2D(32, 3, 3, padding="smae")
                                        ^^^^^^^
Conv2D: `padding` must be "valid" or "same", not 'smae'. Did you mean "same"?
===
%%kmodel net --input 28,28,1
Conv2D(32, (3, 3, 3))
~~~
%%kmodel net, line 2:  Conv2D(32, (3, 3, 3))
                                  ^^^^^^^^^
Conv2D: `kernel_size` must be a positive integer or 2 of them, not (3, 3, 3).
===
%%kmodel net --input 28,28,1
Conv2D(32, 3)
MaxPool2d()
~~~
%%kmodel net, line 3:  MaxPool2d()
                       ^^^^^^^^^
`MaxPool2d` is not defined. Did you mean "MaxPool2D"?
===
%%kmodel net --input images
Conv2D(32, 3)
~~~
%%kmodel net, line 2:  Conv2D(32, 3)
                       ^^^^^^
Conv2D expects at least 4 axes and got the shape (None, 28, 28).
The input has no channels; begin with Reshape((28, 28, 1)).
===
%%kmodel net --input 28,28,1 --optimizer adam --loss auto --target labels
Conv2D(8, 3, activation="relu")
Dense(10, activation="softmax")
~~~
%%kmodel net, line 1:  --input 28,28,1 --optimizer adam --loss auto --target labels
The output has the shape (None, 26, 26, 10), an answer for each place, and the target (20,), one for each sample; put Flatten() or a global pooling before the last layers.
===
%%kmodel net --input 28,28,1
Conv2D(8, 3)
Conv2D(8, 3)
LSTM(16)
~~~
%%kmodel net, line 4:  LSTM(16)
                       ^^^^
LSTM expects 3 axes and got the shape (None, 24, 24, 8).
Reshape((-1, 8)) makes a sequence of all its places.
===
%%kmodel net --input 10
LSTM(16)
~~~
%%kmodel net, line 2:  LSTM(16)
                       ^^^^
LSTM expects 3 axes and got the shape (None, 10).
The input has one axis too few; add one with --input 10,1, or begin with Reshape((10, 1)).
===
%%kmodel net --input 10
Embedding(100, 16)
LSTM(16)
LSTM(16)
~~~
%%kmodel net, line 4:  LSTM(16)
                       ^^^^
LSTM expects 3 axes and got the shape (None, 16).
LSTM on line 3 gives only its last answer; return_sequences=True gives one for each step.
===
%%kmodel net --input 28,28,3
skip = x
Conv2D(16, 3, padding="same")
x = Add()([x, skip])
~~~
%%kmodel net, line 4:  x = Add()([x, skip])
                           ^^^
Add got shapes (None, 28, 28, 16) and (None, 28, 28, 3), which do not broadcast.
skip = Conv2D(16, 1)(skip) would give the other one 16 channels as well.
===
%%kmodel net --input 28,28,3
skip = x
Conv2D(16, 3, padding="same")
x = x + skip
~~~
%%kmodel net, line 4:  x = x + skip
                             ^
`+` got shapes (None, 28, 28, 16) and (None, 28, 28, 3), which do not broadcast.
skip = Conv2D(16, 1)(skip) would give the other one 16 channels as well.
===
%%kmodel net --input 28,28,3
a = Conv2D(8, 3)(x)
b = Conv2D(8, 5)(x)
x = Concatenate()([a, b])
~~~
%%kmodel net, line 4:  x = Concatenate()([a, b])
                           ^^^^^^^^^^^
Concatenate got shapes (None, 26, 26, 8) and (None, 24, 24, 8), which differ in more than the axis to join, -1.
Conv2D on line 3 shrank 28x28 to 24x24, the other branch to 26x26; padding="same" in both would keep 28x28.
===
%%kmodel net --input 28,28,3
Add()
~~~
%%kmodel net, line 2:  Add()
                       ^^^
Add joins several inputs; pass them as one list.
x = Add()([x, skip]) joins two; skip = x keeps one to join later.
===
%%kmodel net --input 28,28,3
x = Add()(x, x)
~~~
%%kmodel net, line 2:  x = Add()(x, x)
                           ^^^
Add joins several inputs; pass them as one list.
Put them into square brackets: Add()([a, b]).
===
%%kmodel net --input 4
x = Concatenate([x, x])
~~~
%%kmodel net, line 2:  x = Concatenate([x, x])
                           ^^^^^^^^^^^
Concatenate got a tensor as its argument `axis`, before it was called.
The settings of a layer go into a first pair of brackets, tensors into a second one: Concatenate()([a, b]).
===
%%kmodel net
Dense(3)
~~~
%%kmodel net, line 2:  Dense(3)
The model has no input yet.
Say its shape in the first line, as in --input 28,28,1 or --input x_train, or begin the cell with Input((28, 28, 1)).
===
%%kmodel net --input left=4 --input right=4
Dense(3)
~~~
%%kmodel net, line 2:  Dense(3)
The model has several inputs (left, right) and `x` is none of them yet.
Begin with x = left, or join them: x = Concatenate()([left, right]).
===
%%kmodel net --input left=4 --input right=3
x = Add()([left, right])
Dense(3)
~~~
%%kmodel net, line 2:  x = Add()([left, right])
                           ^^^
Add got shapes (None, 4) and (None, 3), which do not broadcast.
right = Dense(4)(right) would give the other one 4 channels as well.
===
%%kmodel net --input left=4 --input right=3
x = Dense(3)(left)
~~~
%%kmodel net, line 1:  --input left=4 --input right=3
                                              ^^^^^
Nothing uses the input `right`.
Call a layer on it, as in Dense(10)(right), or leave it out.
<Functional name=net, built=True>
===
%%kmodel net --input 4 --input 3
Dense(3)
~~~
UsageError: %%kmodel: several inputs need names: --input name1=4 --input name2=3
===
%%kmodel net --input 4
Dense(8)
x = 3
Dense(4)
~~~
%%kmodel net, line 4:  Dense(4)
`x` is 3 here, where a tensor was expected.
Line 3 gave it that value; use another name there.
===
%%kmodel net --input 4
Dense(8)
x = None
~~~
%%kmodel net, line 3:  x = None
                       ^
At the end of the cell `x` is None, where a tensor made by layers was expected.
===
%%kmodel net --input 4
x = np.ones((3, 4))
Dense(4)
~~~
%%kmodel net, line 3:  Dense(4)
`x` is an array of shape (3, 4) and dtype float64 here, where a tensor was expected.
Line 2 gave it that value; use another name there.
===
%%kmodel net --input 4
for x in (8, 4):
    Dense(x)
~~~
%%kmodel net, line 3:  Dense(x)
                             ^
`x` is 8 here, where a tensor was expected.
Line 2 gave it that value; use another name there.
===
%%kmodel net --input 4
Dense(8)
x = x.numpy()
~~~
%%kmodel net, line 3:  x = x.numpy()
                             ^^^^^
A tensor of a model has no `numpy`.
Its values are known only when the model runs; leave this out.
===
%%kmodel net --input 4
Dense(8)
x = x.view(-1, 2)
~~~
%%kmodel net, line 3:  x = x.view(-1, 2)
                             ^^^^
A tensor of a model has no `view`.
Reshape((...)) gives the samples another shape.
===
%%kmodel net --input 4
nn.Linear(4, 8)
~~~
%%kmodel net, line 2:  nn.Linear(4, 8)
                       ^^
`nn` is not defined.
A model cell has the layers of Keras at hand: Dense(...).
===
%%kmodel net --input 4
Linear(4, 8)
~~~
%%kmodel net, line 2:  Linear(4, 8)
                       ^^^^^^
`Linear` is not defined.
Keras calls it Dense.
===
%%kmodel net --input 4
ReLu()
~~~
%%kmodel net, line 2:  ReLu()
                       ^^^^
`ReLu` is not defined. Did you mean "ReLU"?
===
%%kmodel net --input 4
x = torch.relu(x)
~~~
%%kmodel net, line 2:  x = torch.relu(x)
                           ^^^^^
`torch` is not defined.
A model cell has the layers of Keras at hand: ReLU(...).
===
%%kmodel net --input 4
tf.keras.layers.Dense(3)
~~~
%%kmodel net, line 2:  tf.keras.layers.Dense(3)
                       ^^
`tf` is not defined.
A model cell has the layers of Keras at hand: Dense(...).
===
%%kmodel net --input 4
keras.layers.dense(3)
~~~
%%kmodel net, line 2:  keras.layers.dense(3)
                       ^^^^^^^^^^^^^^^^^^
`keras.layers.dense` is a module, not a layer.
Write Dense(...).
===
%%kmodel net --input 4
model.add(Dense(3))
~~~
%%kmodel net, line 2:  model.add(Dense(3))
                       ^^^^^
`model` is not defined.
The cell is the model: put each layer on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
model = Sequential()
model.add(Dense(3))
~~~
%%kmodel net, line 2:  model = Sequential()
                               ^^^^^^^^^^
`Sequential` is not defined.
The cell is the model: put each layer on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
model = keras.Sequential([Dense(3)])
~~~
%%kmodel net
The cell calls no layer on its input, so there is no model.
Write layers, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
Dense(3)
model = keras.Model(inputs, x)
~~~
%%kmodel net, line 3:  model = keras.Model(inputs, x)
                                           ^^^^^^
`inputs` is not defined.
In a model cell the current tensor is `x`, the input at first.
===
%%kmodel net --input 4
x = Dense(3)
~~~
%%kmodel net, line 2:  x = Dense(3)
                       ^
`x` is a layer here, Dense, where a tensor was expected.
Leave `x =` out to apply Dense to the current tensor, or call it: Dense(...)(x).
===
%%kmodel net --input 4
hidden = Dense(3)
x = Dense(2)(hidden)
~~~
%%kmodel net, line 3:  x = Dense(2)(hidden)
                           ^^^^^
Dense was called on a layer, Dense, where a tensor was expected.
Call that one first: Dense(...)(x).
===
%%kmodel net --input 4
y = Dense(3)(x)
~~~
%%kmodel net, line 2:  y = Dense(3)(x)
                                    ^
At the end of the cell `x` is still the input; what the layers made of it is `y`.
Write x = ... in the place of y = ..., or end the cell with outputs = y.
===
%%kmodel net --input 4
y = Dense(3)(x)
y = Dense(2)(y)
~~~
%%kmodel net, line 3:  y = Dense(2)(y)
                       ^
At the end of the cell `x` is still the input; what the layers made of it is `y`.
Write x = ... in the place of y = ..., or end the cell with outputs = y.
===
%%kmodel net --input 4
Dense(3)(x)
Dense(2)
~~~
%%kmodel net, line 2:  Dense(3)(x)
Nothing uses what Dense made here, so it is no part of the model.
x = ... would go on with it; leave the line out if it is not needed.
<Functional name=net, built=True>
===
%%kmodel net --input 4
x.Dense(3)
~~~
%%kmodel net, line 2:  x.Dense(3)
                         ^^^^^
A tensor of a model has no `Dense`.
A line Dense(...) applies it to the current tensor.
===
%%kmodel net --input 4
x = x.Dense(3)
~~~
%%kmodel net, line 2:  x = x.Dense(3)
                             ^^^^^
A tensor of a model has no `Dense`.
A line Dense(...) applies it to the current tensor.
===
%%kmodel net --input 4
Dense(3)
return x
~~~
%%kmodel net, line 3:
    return x
    ^
'return' outside function.
The model ends with the value of `x`, or of `outputs`: leave this line out.
===
%%kmodel net --input 4
await Dense(3)
~~~
%%kmodel net, line 2:
    await Dense(3)
    ^
'await' outside function.
Layers are applied at once: leave that word out.
===
%%kmodel net --input 4
yield Dense(3)
~~~
%%kmodel net, line 2:
    yield Dense(3)
    ^
'yield' outside function.
Layers are applied at once: leave that word out.
===
%%kmodel net --input 4
%time Dense(3)
~~~
%%kmodel net, line 2:
    %time Dense(3)
    ^
Invalid syntax.
Magics and shell commands do not work inside a model cell; give them a cell of their own.
===
%%kmodel net --input 4
!ls
Dense(3)
~~~
%%kmodel net, line 2:
    !ls
    ^
Invalid syntax.
Magics and shell commands do not work inside a model cell; give them a cell of their own.
===
%%kmodel net --input 4
Dense(3)
%matplotlib inline
~~~
%%kmodel net, line 3:
    %matplotlib inline
    ^
Invalid syntax.
Magics and shell commands do not work inside a model cell; give them a cell of their own.
===
%%kmodel net --input 4
break
~~~
%%kmodel net, line 2:
    break
    ^
'break' outside loop.
===
%%kmodel net --input 4
Dense(untis)
~~~
%%kmodel net, line 2:  Dense(untis)
                             ^^^^^
`untis` is not defined.
===
%%kmodel net --input 4
Dense(units=3, unit=4)
~~~
%%kmodel net, line 2:  Dense(units=3, unit=4)
                                      ^^^^
Dense has no argument `unit`. Did you mean "units"?
===
%%kmodel net --input 4
Dense(3, units=3)
~~~
%%kmodel net, line 2:  Dense(3, units=3)
                                ^^^^^
Dense got `units` twice: by position and by name.
===
%%kmodel net --input 4
if x > 0:
    Dense(3)
~~~
%%kmodel net, line 2:  if x > 0:
                       ^^
`if` cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
keras.ops.where(condition, a, b) chooses for each value.
===
%%kmodel net --input 4
if x:
    Dense(3)
~~~
%%kmodel net, line 2:  if x:
                       ^^
`if` cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
keras.ops.where(condition, a, b) chooses for each value.
===
%%kmodel net --input 4
while x.mean() > 0:
    Dense(3)
~~~
%%kmodel net, line 2:  while x.mean() > 0:
                               ^^^^
A tensor of a model has no `mean`.
keras.ops.mean(x) does it.
===
%%kmodel net --input 4
for row in x:
    Dense(3)
~~~
%%kmodel net, line 2:  for row in x:
                       ^^^
`for` cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
Go over what is known, as in `for n in (32, 64):`.
===
%%kmodel net --input 4
Dense(int(x[0, 0]))
~~~
%%kmodel net, line 2:  Dense(int(x[0, 0]))
                             ^^^
`int` cannot work on a tensor of shape (): its values are known only when the model runs.
===
%%kmodel net --input 4
Dense(len(x))
~~~
%%kmodel net, line 2:  Dense(len(x))
                             ^^^
`len` cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
x.shape[-1] is its last length.
===
%%kmodel net --input 4
Dense(x.shape[0])
~~~
%%kmodel net, line 2:  Dense(x.shape[0])
                       ^^^^^
Dense: `units` must be a positive integer, not None.
===
%%kmodel net --input 4
x = np.log(x)
~~~
%%kmodel net, line 2:  x = np.log(x)
                           ^^^^^^
`np.log` cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
keras.ops.log can.
===
%%kmodel net --input 4
x = jnp.log(x)
Dense(3)
~~~
%%kmodel net, line 2:  x = jnp.log(x)
                           ^^^^^^^
`jnp.log` cannot work on a tensor: its values are known only when the model runs.
keras.ops.log can.
===
%%kmodel net --input 4
net
~~~
%%kmodel net, line 2:  net
                       ^^^
The cell makes the model `net` and uses an earlier `net` in it.
Each run would put the model into itself once more; give one of the two another name.
===
%%kmodel net --input 4
outputs = [x, Dnse(3)(x)]
~~~
%%kmodel net, line 2:  outputs = [x, Dnse(3)(x)]
                                     ^^^^
`Dnse` is not defined. Did you mean "Dense"?
===
%%kmodel net --input 4
outputs = []
~~~
%%kmodel net, line 2:  outputs = []
                       ^^^^^^^
`outputs` holds no tensor.
===
%%kmodel net --input 4
outputs = Dense(3)
~~~
%%kmodel net, line 2:  outputs = Dense(3)
                       ^^^^^^^
`outputs` is a layer here, Dense, where a tensor was expected.
Call it: Dense(...)(x).
===
%%kmodel net --input 4
outputs = [Dense(3), Dense(2)]
~~~
%%kmodel net, line 2:  outputs = [Dense(3), Dense(2)]
                       ^^^^^^^
`outputs` is a layer here, Dense, where a tensor was expected.
Call it: Dense(...)(x).
===
%%kmodel net --input 4
pass
~~~
%%kmodel net
The cell calls no layer on its input, so there is no model.
Write layers, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
~~~
%%kmodel net, line 1:  --input 4
The cell is empty.
Write layers in it, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
# nothing yet
~~~
%%kmodel net, line 1:  --input 4
The cell is empty.
Write layers in it, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
a = Input((3,))
b = Dense(3)(a)
~~~
%%kmodel net, line 3:  b = Dense(3)(a)
                       ^
At the end of the cell `x` is still the input; what the layers made of it is `b`.
Write x = ... in the place of b = ..., or end the cell with outputs = b.
===
%%kmodel net --input 4
Reshape((3, 3))
~~~
%%kmodel net, line 2:  Reshape((3, 3))
                       ^^^^^^^
Reshape cannot turn samples of shape (4,), 4 values, into the shape (3, 3).
===
%%kmodel net --input 28,28,1
for _ in range(6):
    MaxPooling2D()
~~~
%%kmodel net, line 3:  MaxPooling2D()
                       ^^^^^^^^^^^^
MaxPooling2D needs at least 2 along axis 1 (pool_size=(2, 2); try padding="same" or a smaller one) and got the shape (None, 1, 1, 1).
Only 1x1 is left of 28x28 after MaxPooling2D on line 3; take one out.
===
%%kmodel net --input 28,28,1
for _ in range(4):
    Conv2D(4, 3)
    MaxPooling2D()
~~~
%%kmodel net, line 3:  Conv2D(4, 3)
                       ^^^^^^
Conv2D needs at least 3 along axis 1 (kernel_size=(3, 3); try padding="same" or a smaller one) and got the shape (None, 1, 1, 4).
Only 1x1 is left of 28x28 after Conv2D on line 3 and MaxPooling2D on line 4; take one out.
===
%%kmodel net --input 28,28,1 --optimizer adam --loss auto
Flatten
Dense(10)
~~~
%%kmodel net, line 2:  Flatten
                       ^^^^^^^
Flatten is a class, not a layer.
Write Flatten().
===
%%kmodel net --input 10
Embedding(16)
~~~
%%kmodel net, line 2:  Embedding(16)
                       ^^^^^^^^^
Embedding needs `output_dim`.
===
%%kmodel net --input 4
MultiHeadAttention(4, 16)
~~~
%%kmodel net, line 2:  MultiHeadAttention(4, 16)
                       ^^^^^^^^^^^^^^^^^^
MultiHeadAttention is called on 2 tensors: query, value.
Call it with all of them: x = MultiHeadAttention(...)(x, x).
===
%%kmodel net --input 4
BatchNormalisation()
~~~
%%kmodel net, line 2:  BatchNormalisation()
                       ^^^^^^^^^^^^^^^^^^
`BatchNormalisation` is not defined. Did you mean "BatchNormalization"?
===
%%kmodel net --input 4
Dense(3).relu()
~~~
%%kmodel net, line 2:  Dense(3).relu()
                                ^^^^
A Dense layer has no `relu`.
Dense(..., activation="relu") applies it.
===
%%kmodel net --input 4
Dense(3) + Dense(4)
~~~
%%kmodel net, line 2:  Dense(3) + Dense(4)
                                ^
`+` got a layer, Dense, where a tensor was expected.
Call it on a tensor first: Dense(...)(x).
===
%%kmodel net --input 4
Dense(3) >> Dense(4)
~~~
%%kmodel net, line 2:  Dense(3) >> Dense(4)
                                ^^
`>>` got a layer, Dense, where a tensor was expected.
Call it on a tensor first: Dense(...)(x).
===
%%kmodel net --input 4
Dense(3), Dense
~~~
%%kmodel net, line 2:  Dense(3), Dense
                       ^^^^^
Dense is a class, not a layer.
Write Dense().
===
%%kmodel net --input 4
[Dense(3), "relu"]
~~~
%%kmodel net, line 2:  [Dense(3), "relu"]
                                   ^^^^
This list of layers also holds 'relu'.
===
%%kmodel net --input 4
"relu"
~~~
%%kmodel net
The cell calls no layer on its input, so there is no model.
Write layers, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
Dense(3); relu
~~~
%%kmodel net, line 2:  Dense(3); relu
                                 ^^^^
`relu` is not defined.
Keras calls it ReLU.
===
%%kmodel net --input 4
Dense(3) Dense(4)
~~~
%%kmodel net, line 2:
    Dense(3) Dense(4)
             ^
Invalid syntax.
Put each layer on a line of its own.
===
%%kmodel net --input 4
Dense(3
Dense(4))
~~~
%%kmodel net, line 2:
    Dense(3
          ^
Invalid syntax. Perhaps you forgot a comma?
===
%%kmodel net --input 4
Dense[3]
~~~
%%kmodel net, line 2:  Dense[3]
                       ^^^^^
Dense got square brackets.
Round brackets make a layer: Dense(...).
===
%%kmodel net --input 4
Dense{3}
~~~
%%kmodel net, line 2:
    Dense{3}
         ^
Invalid syntax.
Round brackets make a layer: Dense(10).
===
%%kmodel net --input 4
Dense(3);;
~~~
%%kmodel net, line 2:
    Dense(3);;
             ^
Invalid syntax.
===
%%kmodel net --input 4
Dense(3) # hidden
Dense(\u201c3\u201d)
~~~
%%kmodel net, line 3:
    Dense(\u201c3\u201d)
          ^
Invalid character '\u201c' (U+201C).
These are typographic quotes; Python wants straight ones: " or '.
===
%%kmodel net --input 4
Dense(3, activation=\u2018relu\u2019)
~~~
%%kmodel net, line 2:
    Dense(3, activation=\u2018relu\u2019)
                        ^
Invalid character '\u2018' (U+2018).
These are typographic quotes; Python wants straight ones: " or '.
===
%%kmodel net --input 4
if True
    Dense(3)
~~~
%%kmodel net, line 2:
    if True
           ^
Expected ':'.
===
%%kmodel net --input 4
if n = 3:
    Dense(3)
~~~
%%kmodel net, line 2:
    if n = 3:
       ^
Invalid syntax. Maybe you meant '==' or ':=' instead of '='?
===
%%kmodel net --input 4
Dense(3, kernel_initializer="he")
~~~
%%kmodel net, line 2:  Dense(3, kernel_initializer="he")
                                                    ^^
Dense: unknown initializer "he".
===
%%kmodel net --input 4
Dense(3, kernel_regularizer="l3")
~~~
%%kmodel net, line 2:  Dense(3, kernel_regularizer="l3")
                                                    ^^
Dense: unknown regularizer "l3".
===
%%kmodel net --input 4
Dense(3, kernel_regularizer=0.01)
~~~
%%kmodel net, line 2:  Dense(3, kernel_regularizer=0.01)
                                                   ^^^^
Dense: 0.01 is not a regularizer: pass a name such as "l1", an object or a function.
===
%%kmodel net --input 4
Activation("rleu")
~~~
%%kmodel net, line 2:  Activation("rleu")
                                   ^^^^
Activation: unknown activation "rleu". Did you mean "relu"?
===
%%kmodel net --input 4
Activation()
~~~
%%kmodel net, line 2:  Activation()
                       ^^^^^^^^^^
Activation needs `activation`.
===
%%kmodel net --input 4
Dense(3, name="my layer")
Dense(3, name="my layer")
~~~
%%kmodel net, line 3:  Dense(3, name="my layer")
                                      ^^^^^^^^
Two layers are named `my layer`, here and on line 2; a model tells them apart by name.
===
%%kmodel net --input 4
Dense(3, name="a/b")
~~~
%%kmodel net, line 2:  Dense(3, name="a/b")
                                ^^^^
Dense: `name` must not contain "/", not "a/b".
===
%%kmodel net --input 4
Dense(3, dtype="float23")
~~~
%%kmodel net, line 2:  Dense(3, dtype="float23")
                                       ^^^^^^^
Dense: unknown dtype policy "float23". Did you mean "float32"?
===
%%kmodel net --input 4
Lambda(x * 2)
~~~
%%kmodel net, line 2:  Lambda(x * 2)
                       ^^^^^^
Lambda got a tensor as its argument `function`, before it was called.
The settings of a layer go into a first pair of brackets, tensors into a second one: Lambda(...)(x).
===
%%kmodel net --input 4
Lambda(lambda t: t + undefined_thing)
~~~
%%kmodel net, line 2:  Lambda(lambda t: t + undefined_thing)
                                            ^^^^^^^^^^^^^^^
`undefined_thing` is not defined.
===
%%kmodel net --input 4
Dense(3)
x = Lambda(lambda t: np.log(t))(x)
~~~
%%kmodel net, line 3:  x = Lambda(lambda t: np.log(t))(x)
                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
Lambda: line 3, `x = Lambda(lambda t: np.log(t))(x)`, asks for the values of an array, which compiled code does not have yet; use keras.ops.where or keras.ops.cond for a decision and keras.ops instead of NumPy, or do it outside of the model.
===
%%kmodel net --input 4
Broken()
~~~
%%kmodel net, line 2:  Broken()
                       ^^^^^^
AttributeError: 'Broken' object has no attribute 'missing' (in call: return x + self.missing)
===
%%kmodel net --input 4
bad_block(3)
~~~
%%kmodel net, line 2:  bad_block(3)
Dense has no argument `activaton`. Did you mean "activation"?
===
%%kmodel net --input 4
assert 1 == 2, "I forgot"
~~~
%%kmodel net, line 2:  assert 1 == 2, "I forgot"
AssertionError: I forgot
===
%%kmodel net --input 4
1 / 0
~~~
%%kmodel net, line 2:  1 / 0
ZeroDivisionError: division by zero
===
%%kmodel net --input 4
{}["a"]
~~~
%%kmodel net, line 2:  {}["a"]
                           ^
KeyError: 'a'
===
%%kmodel net --input 4
open("nothere.txt")
~~~
%%kmodel net, line 2:  open("nothere.txt")
                             ^^^^^^^^^^^
FileNotFoundError: [Errno 2] No such file or directory: 'nothere.txt'
===
%%kmodel net --input 4
def block(x):
    Dense(3)
x = block(x)
~~~
%%kmodel net, line 4:  x = block(x)
                       ^
At the end of the cell `x` is None, where a tensor made by layers was expected.
The function gave nothing back; end it with `return x`.
===
%%kmodel net --input 4
def block(x):
    Dense(3)
block(x)
~~~
%%kmodel net, line 3:  Dense(3)
At the end of the cell `x` is still the input: nothing uses what Dense made here.
A line Dense(...) goes on with it by itself, and so does x = Dense(...)(x).
===
%%kmodel net --input 4
with Dense(3):
    Dense(4)
~~~
%%kmodel net, line 2:  with Dense(3):
                            ^^^^^
TypeError: 'Dense' object does not support the context manager protocol
===
%%kmodel net --input 4
x, y = Dense(3)
~~~
%%kmodel net, line 2:  x, y = Dense(3)
TypeError: cannot unpack non-iterable Dense object
===
%%kmodel net --input 4
x, y = x
~~~
%%kmodel net, line 2:  x, y = x
Unpacking cannot work on a tensor of shape (None, 4): its values are known only when the model runs.
x[:, :2] is a part of it; keras.ops.split makes several.
===
%%kmodel net --input 4
x = LSTM(3, return_state=True)(Reshape((2, 2))(x))
Dense(3)
~~~
%%kmodel net, line 3:  Dense(3)
                       ^^^^^
Dense expects 1 input(s) and got 3.
Take one of them, as in x = x[0], or join them: x = Concatenate()(x).
===
%%kmodel net --input 4
Dense(3)
del x
~~~
%%kmodel net
At the end of the cell `x` is gone.
Leave `del x` out.
===
%%kmodel net --input 4
Dense(3)
x.shape = (3, 3)
~~~
%%kmodel net, line 3:  x.shape = (3, 3)
                         ^^^^^
AttributeError: property 'shape' of 'KerasTensor' object has no setter
===
%%kmodel net --input 4
Dense(3)
x[0] = 3
~~~
%%kmodel net, line 3:  x[0] = 3
TypeError: 'KerasTensor' object does not support item assignment
===
%%kmodel net --input 4
x += "a"
~~~
%%kmodel net, line 2:  x += "a"
                         ^
`+` got 'a' where a tensor or a number was expected.
===
%%kmodel net --input 4
x = "a" + x
~~~
%%kmodel net, line 2:  x = "a" + x
                               ^
`+` got 'a' where a tensor or a number was expected.
===
%%kmodel net --input 4
x = x @ np.ones((3, 3))
~~~
%%kmodel net, line 2:  x = x @ np.ones((3, 3))
                             ^
`@` got shapes (None, 4) and (3, 3), which do not fit.
===
%%kmodel net --input 4
x = x + y_train
~~~
%%kmodel net, line 2:  x = x + y_train
                             ^
`+` got shapes (None, 4) and (60,), which do not broadcast.
===
%%kmodel net --input 4
Dense(0)
~~~
%%kmodel net, line 2:  Dense(0)
                             ^
Dense: `units` must be a positive integer, not 0.
===
%%kmodel net --input 4
Softmax(axis=5)
~~~
%%kmodel net, line 2:  Softmax(axis=5)
                       ^^^^^^^
Softmax cannot work on input of shape (None, 4): axis 5 is out of bounds for array of dimension 2.
===
%%kmodel net --input 4,4
Permute((2, 3))
~~~
%%kmodel net, line 2:  Permute((2, 3))
                               ^^^^^^
Permute: `dims` must be the numbers from 1 to the number of axes, batch aside, in some order, not (2, 3).
===
%%kmodel net --input 4
RepeatVector("3")
~~~
%%kmodel net, line 2:  RepeatVector("3")
                                     ^
RepeatVector: `n` must be an integer, not '3'.
===
%%kmodel net --input 4
x = Dense(3)[x]
~~~
%%kmodel net, line 2:  x = Dense(3)[x]
                           ^^^^^
Dense got square brackets.
Round brackets call it: Dense(...)(x).
===
%%kmodel net --input 4
x = Dot()([x, x])
~~~
%%kmodel net, line 2:  x = Dot()([x, x])
                           ^^^
Dot needs `axes`.
===
%%kmodel net --input left=4 --input right=4
x = Concatenate()([left, rihgt])
~~~
%%kmodel net, line 2:  x = Concatenate()([left, rihgt])
                                                ^^^^^
`rihgt` is not defined. Did you mean "right"?
===
%%kmodel net --input left=4 --input right=4
x = Concatenate()(left, right)
~~~
%%kmodel net, line 2:  x = Concatenate()(left, right)
                           ^^^^^^^^^^^
Concatenate joins several inputs; pass them as one list.
Put them into square brackets: Concatenate()([a, b]).
===
%%kmodel net --input left=4 --input right=4
x = Concatenate()([left])
~~~
%%kmodel net, line 1:  --input left=4 --input right=4
                                              ^^^^^
Nothing uses the input `right`.
Call a layer on it, as in Dense(10)(right), or leave it out.
<Functional name=net, built=True>
===
%%kmodel net --input 4
layers.Dense(3)
~~~
%%kmodel net, line 2:  layers.Dense(3)
                       ^^^^^^
`layers` is not defined.
A model cell has the layers of Keras at hand: Dense(...).
===
%%kmodel net --input 4
self.fc = nn.Linear(4, 8)
~~~
%%kmodel net, line 2:  self.fc = nn.Linear(4, 8)
                                 ^^
`nn` is not defined.
A model cell has the layers of Keras at hand: Dense(...).
===
%%kmodel net --input 4,4
x = Flatten(x)
~~~
%%kmodel net, line 2:  x = Flatten(x)
                           ^^^^^^^
Flatten got a tensor as its argument `data_format`, before it was called.
The settings of a layer go into a first pair of brackets, tensors into a second one: Flatten(...)(x).
===
%%kmodel net --input 4
x = Dense(3, x)
~~~
%%kmodel net, line 2:  x = Dense(3, x)
                           ^^^^^
Dense got a tensor as its argument `activation`, before it was called.
The settings of a layer go into a first pair of brackets, tensors into a second one: Dense(...)(x).
===
%%kmodel net --input 4
x = Dense(x)
~~~
%%kmodel net, line 2:  x = Dense(x)
                           ^^^^^
Dense got a tensor as its argument `units`, before it was called.
The settings of a layer go into a first pair of brackets, tensors into a second one: Dense(...)(x).
===
%%kmodel net --input 4
Dense(3)(x)
~~~
%%kmodel net, line 2:  Dense(3)(x)
                                ^
At the end of the cell `x` is still the input: nothing uses what Dense made here.
A line Dense(...) goes on with it by itself, and so does x = Dense(...)(x).
===
%%kmodel net --input 4
outputs = x
Dense(3)
~~~
%%kmodel net, line 2:  outputs = x
                       ^^^^^^^
`outputs` is the input: it was set before any layer was called.
Set it at the end, or leave it out: `x` is the output by itself.
===
%%kmodel net
Input(shape=4)
Dense(3)
~~~
%%kmodel net, line 2:  Input(shape=4)
                             ^^^^^
Input: `shape` must be a tuple of lengths such as (28, 28, 1), None for unknown ones, not 4.
===
%%kmodel net --input 4
x = Dense(3)(X)
~~~
%%kmodel net, line 2:  x = Dense(3)(X)
                                    ^
`X` is not defined. Did you mean "x"?
===
%%kmodel net --input 4
Dropout("0.5")
~~~
%%kmodel net, line 2:  Dropout("0.5")
                                ^^^
Dropout: `rate` must be a number from 0 to 1, not '0.5'.
===
%%kmodel net --input 4
Dropout(0,5)
~~~
%%kmodel net, line 2:  Dropout(0,5)
                                 ^
Dropout: `noise_shape` must be a tuple of positive integers and None, not 5.
===
%%kmodel net --input 8,8,1
Conv2D(32, "3")
~~~
%%kmodel net, line 2:  Conv2D(32, "3")
                                   ^
Conv2D: `kernel_size` must be a positive integer or 2 of them, not '3'.
===
%%kmodel net --input 8,8,1
Conv2D(32, 3, strides=0)
~~~
%%kmodel net, line 2:  Conv2D(32, 3, strides=0)
                                     ^^^^^^^
Conv2D: `strides` must be a positive integer or 2 of them, not 0.
===
%%kmodel net --input 8,8,1
Conv2D(8, 3, activation='relu', pading='same')
~~~
%%kmodel net, line 2:  Conv2D(8, 3, activation='relu', pading='same')
                                                       ^^^^^^
Conv2D has no argument `pading`. Did you mean "padding"?
===
%%kmodel net --input 8,8,1
Conv2D(8, 3)
Flaten()
~~~
%%kmodel net, line 3:  Flaten()
                       ^^^^^^
`Flaten` is not defined. Did you mean "Flatten"?
===
%%kmodel net --input 8,8,1
GlobalAvgPooling2D()
~~~
%%kmodel net, line 2:  GlobalAvgPooling2D()
                       ^^^^^^^^^^^^^^^^^^
`GlobalAvgPooling2D` is not defined. Did you mean "GlobalAvgPool2D"?
===
%%kmodel net --input 4
Dense 10
~~~
%%kmodel net, line 2:
    Dense 10
          ^
Invalid syntax.
===
%%kmodel net --input 4
Dense(10):
~~~
%%kmodel net, line 2:
    Dense(10):
             ^
Invalid syntax.
===
%%kmodel net --input 4
for i in range(3) Dense(3)
~~~
%%kmodel net, line 2:
    for i in range(3) Dense(3)
                      ^
Invalid syntax.
Put each layer on a line of its own.
===
%%kmodel net --input 4
else:
    Dense(3)
~~~
%%kmodel net, line 2:
    else:
    ^
Invalid syntax.
===
%%kmodel net --input 4
keras.Dense(3)
~~~
%%kmodel net, line 2:  keras.Dense(3)
                             ^^^^^
keras has no `Dense`. Did you mean "keras.layers.Dense"?
===
%%kmodel net --input 4
x = keras.layer.Dense(3)(x)
~~~
%%kmodel net, line 2:  x = keras.layer.Dense(3)(x)
                                       ^^^^^
keras.layer has no `Dense`. Did you mean "keras.layers.Dense"?
===
%%kmodel net --input 4
from kerasnb.layers import Dens
~~~
%%kmodel net, line 2:  from kerasnb.layers import Dens
                                                  ^^^^
kerasnb.layers has no `Dens`. Did you mean "Dense"?
===
%%kmodel net --input 4
from kerasnb import Dens
~~~
%%kmodel net, line 2:  from kerasnb import Dens
                                           ^^^^
kerasnb has no `Dens`. Did you mean "keras.layers.Dense"?
===
%%kmodel net --input 4
import kerasnb.layer
~~~
%%kmodel net, line 2:  import kerasnb.layer
                                      ^^^^^
kerasnb has no module `layer`. Did you mean "layers"?
===
%%kmodel net --input 4
from numpy.rnadom import default_rng
~~~
%%kmodel net, line 2:  from numpy.rnadom import default_rng
                                  ^^^^^^
numpy has no module `rnadom`. Did you mean "random"?
===
%%kmodel net --input 4
import nonexistent_thing
~~~
%%kmodel net, line 2:  import nonexistent_thing
                              ^^^^^^^^^^^^^^^^^
ModuleNotFoundError: No module named 'nonexistent_thing'
===
%%kmodel net --input 4
skip = x
Dense(4)
x = Add()([x, skp])
~~~
%%kmodel net, line 4:  x = Add()([x, skp])
                                     ^^^
`skp` is not defined. Did you mean "skip"?
===
%%kmodel net --input 4
Dense(1O)
~~~
%%kmodel net, line 2:
    Dense(1O)
          ^
Invalid decimal literal.
===
%%kmodel net --input 4
Dense(units: 3)
~~~
%%kmodel net, line 2:
    Dense(units: 3)
               ^
Invalid syntax.
===
%%kmodel net --input 4
Dense(units=3 activation="relu")
~~~
%%kmodel net, line 2:
    Dense(units=3 activation="relu")
                ^
Invalid syntax. Perhaps you forgot a comma?
===
%%kmodel net --input 3
base
~~~
%%kmodel net, line 2:  base
                       ^^^^
Model `base` expects inputs of shape (None, 4) and got (None, 3).
===
%%kmodel net --input 4
base()
~~~
%%kmodel net, line 2:  base()
                       ^^^^
`base` was called on nothing.
base(x) calls it on `x`.
===
%%kmodel net --input 4
x = clf.predict(x)
~~~
%%kmodel net, line 2:  x = clf.predict(x)
                               ^^^^^^^
`predict` works on data, and a tensor of a model holds none yet.
A model is a layer too: x = model(x) makes it a part of this one.
===
%%kmodel net --input 4
clf.fit(x, y_train)
~~~
%%kmodel net, line 2:  clf.fit(x, y_train)
                           ^^^
`fit` works on data, and a tensor of a model holds none yet.
A model is a layer too: x = model(x) makes it a part of this one.
===
%%kmodel net --input 4
x = x_train
Dense(3)
~~~
%%kmodel net, line 3:  Dense(3)
`x` is an array of shape (60, 4) and dtype float32 here, where a tensor was expected.
Line 2 gave it that value; use another name there.
===
%%kmodel net --input 4
x = keras.layers.Dence(3)(x)
~~~
%%kmodel net, line 2:  x = keras.layers.Dence(3)(x)
                                        ^^^^^
keras.layers has no `Dence`. Did you mean "Dense"?
===
%%kmodel net --input 4
x = keras.ops.reluu(x)
~~~
%%kmodel net, line 2:  x = keras.ops.reluu(x)
                                     ^^^^^
keras.ops has no `reluu`. Did you mean "relu"?
===
%%kmodel net --input 4
x = keras.ops.reshape(x, (3, 3))
~~~
%%kmodel net, line 2:  x = keras.ops.reshape(x, (3, 3))
                                     ^^^^^^^
`reshape`: cannot reshape array of shape (None, 4) (size 3360) into shape (3, 3) (size 9).
===
%%kmodel net --input 4
x = keras.ops.concatenate([x, 3])
~~~
%%kmodel net, line 2:  x = keras.ops.concatenate([x, 3])
                                     ^^^^^^^^^^^
`concatenate`: Cannot concatenate arrays with different numbers of dimensions: got (None, 4), ().
===
%%kmodel net --input 28,28,1 --loss auto --target y_train
Conv2D(8, 3, activation="relu")
Dense(3, activation="softmax")
~~~
%%kmodel net, line 1:  --input 28,28,1 --loss auto --target y_train
The output has the shape (None, 26, 26, 3), an answer for each place, and the target (60,), one for each sample; put Flatten() or a global pooling before the last layers.
===
%kfit forgot {np.zeros((60, 4, 4))} y_train
~~~
%kfit: SparseCategoricalCrossentropy: `y` must hold one class number for each sample, shape (batch, 4), not (batch,). The model answers for each of 4 places; to answer once, put Flatten() before the last Dense, or a global pooling.
===
%kfit base x_train y_train
~~~
%kfit: the model must be compiled first: model.compile(optimizer="adam", loss=...).
===
%%kmodel net --input 4 --learning-rate 0.1
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --learning-rate 0.1
A learning rate needs an optimizer to use it; name one.
===
%%kmodel net --input 4 --loss auto --target texts
Dense(2, activation="softmax")
~~~
%%kmodel net, line 1:  --input 4 --loss auto --target texts
The target holds texts; turn them into numbers first, as np.unique(y, return_inverse=True)[1] does.
===
%%kmodel net --input 10
Embedding(100, 16)
Conv2D(8, 3)
~~~
%%kmodel net, line 3:  Conv2D(8, 3)
                       ^^^^^^
Conv2D expects at least 4 axes and got the shape (None, 10, 16).
===
%%kmodel net --input 4
LSTM(8, return_sequence=True)
~~~
%%kmodel net, line 2:  LSTM(8, return_sequence=True)
                               ^^^^^^^^^^^^^^^
LSTM has no argument `return_sequence`. Did you mean "return_sequences"?
===
%%kmodel net --input a=4 --input b=4
x = Concatenate()([a, b]
Dense(3)
~~~
%%kmodel net, line 2:
    x = Concatenate()([a, b]
                     ^
'(' was never closed.
===
%%kmodel net --input a=4 --input b=4
x = Concatenate()(a b)
~~~
%%kmodel net, line 2:
    x = Concatenate()(a b)
                      ^
Invalid syntax. Perhaps you forgot a comma?
===
%%kmodel net --input a=8,8,1 --input b=4
x = Concatenate()([a, b])
~~~
%%kmodel net, line 2:  x = Concatenate()([a, b])
                           ^^^^^^^^^^^
Concatenate got shapes (None, 8, 8, 1) and (None, 4), which differ in more than the axis to join, -1.
a = Flatten()(a) would make one row of the other one.
===
%%kmodel net --input 4
Dense(3)
x = Dense(2)(skip)
~~~
%%kmodel net, line 3:  x = Dense(2)(skip)
                                    ^^^^
`skip` is not defined.
===
%%kmodel net --input 4
x = [x, x]
Dense(3)
~~~
%%kmodel net, line 3:  Dense(3)
                       ^^^^^
Dense expects 1 input(s) and got 2.
Take one of them, as in x = x[0], or join them: x = Concatenate()(x).
===
%%kmodel net --input 4
x = Dense(3)(x)(x)
~~~
%%kmodel net, line 2:  x = Dense(3)(x)(x)
A tensor was called as if it were a layer.
===
%%kmodel net --input 4
x = Dense(3)()
~~~
%%kmodel net, line 2:  x = Dense(3)()
                           ^^^^^
Dense was called on nothing.
Dense(...)(x) calls it on `x`.
===
%%kmodel net --input 4
print x
~~~
%%kmodel net, line 2:
    print x
    ^
Missing parentheses in call to 'print'. Did you mean print(...)?
===
%%kmodel net --input 4
Dense(3, activation="relu", activation="tanh")
~~~
%%kmodel net, line 2:
    Dense(3, activation="relu", activation="tanh")
                                ^
Keyword argument repeated: activation.
===
%%kmodel net --input 4
Dense(3,, 4)
~~~
%%kmodel net, line 2:
    Dense(3,, 4)
            ^
Invalid syntax.
===
%%kmodel net --input 4
class = Dense(3)
~~~
%%kmodel net, line 2:
    class = Dense(3)
          ^
Invalid syntax.
The name is a word of Python itself; take another one.
===
%%kmodel net --input 4
Dense(units)
~~~
%%kmodel net, line 2:  Dense(units)
                             ^^^^^
`units` is not defined.
===
%%kmodel net --input 4
Dense(3)
Dense(3) if x.shape[1] = 3
~~~
%%kmodel net, line 3:
    Dense(3) if x.shape[1] = 3
    ^
Expected 'else' after 'if' expression.
===
%%kmodel net --input 4
lambda: Dense(3)
~~~
%%kmodel net
The cell calls no layer on its input, so there is no model.
Write layers, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
net.summary()
~~~
%%kmodel net, line 2:  net.summary()
                       ^^^
The cell makes the model `net` and uses an earlier `net` in it.
Each run would put the model into itself once more; give one of the two another name.
===
%%kmodel net --input 4
new.summary()
~~~
%%kmodel net, line 2:  new.summary()
                       ^^^
`new` is not defined. Did you mean "net"?
===
%%kmodel net --input 4
Dense(3)
compile(optimizer="adam")
~~~
%%kmodel net, line 3:  compile(optimizer="adam")
                       ^^^^^^^
`compile` is a function of Python that has nothing to do with models.
--optimizer, --loss and --metrics in the first line compile the model.
===
%%kmodel net --inptu 4
Dense(3)
~~~
UsageError: %%kmodel has no option --inptu. Did you mean "--input"?
===
%%kmodel net --input
Dense(3)
~~~
UsageError: %%kmodel: --input needs a value after it.
===
%%kmodel
Dense(3)
~~~
%%kmodel model, line 2:  Dense(3)
The model has no input yet.
Say its shape in the first line, as in --input 28,28,1 or --input x_train, or begin the cell with Input((28, 28, 1)).
===
%%kmodel my-net --input 4
Dense(3)
~~~
UsageError: %%kmodel: `my-net` cannot be the name of a model. Did you mean "my_net"?
===
%%kmodel class --input 4
Dense(3)
~~~
UsageError: %%kmodel: `class` cannot be the name of a model.
===
%%kmodel None --input 4
Dense(3)
~~~
UsageError: %%kmodel: `None` cannot be the name of a model.
===
%%kmodel np --input 4
Dense(3)
~~~
UsageError: %%kmodel: a model of this name would hide the module `np`; choose another name.
===
%%kmodel x_train --input 4
Dense(3)
~~~
UsageError: %%kmodel: a model of this name would hide your data `x_train`; choose another name.
===
%%kmodel Dense --input 4
Dense(3)
~~~
UsageError: %%kmodel: a model of this name would hide the layer Dense; choose another name.
===
%%kmodel print --input 4
Dense(3)
~~~
UsageError: %%kmodel: a model of this name would hide Python's own `print`; choose another name.
===
%%kmodel my net --input 4
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `net`. Options begin with --, and values hold no spaces.
===
%%kmodel net --input 28x28x1
Dense(3)
~~~
UsageError: %%kmodel: a shape has commas: --input 28,28,1
===
%%kmodel net --input -4
Dense(3)
~~~
%%kmodel net, line 1:  --input -4
An input is a shape such as 28,28,1, or data with one row for each sample, not (-4,).
===
%%kmodel net --input 0
Dense(3)
~~~
UsageError: %%kmodel: samples of the shape 0 hold no number at all.
===
%%kmodel net --input 28,28,1.5
Dense(3)
~~~
%%kmodel net, line 1:  --input 28,28,1.5
An input is a shape such as 28,28,1, or data with one row for each sample, not (28, 28, 1.5).
===
%%kmodel net --input x_trian
Dense(3)
~~~
UsageError: %%kmodel: `x_trian` is not defined. Did you mean "x_train"?
===
%%kmodel net --input texts
Dense(3)
~~~
%%kmodel net, line 1:  --input texts
The input holds texts and models compute with numbers; turn them into numbers first.
===
%%kmodel net --input frame
Dense(3)
~~~
%%kmodel net, line 1:  --input frame
The column 'name' of the DataFrame holds no numbers; leave it out, or turn it into numbers first (pandas.get_dummies, pandas.factorize).
===
%%kmodel net --input "x_train"
Dense(3)
~~~
UsageError: %%kmodel: "x_train" is a text; data is given by its name, without quotes.
===
%%kmodel net --input 4 --optimizer adma
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --optimizer adma
                                             ^^^^
Unknown optimizer "adma". Did you mean "adam"?
===
%%kmodel net --input 4 --optimizer Adam(0.01)
Dense(3)
~~~
UsageError: %%kmodel: what is to be run goes into braces: {Adam(0.01)}.
===
%%kmodel net --input 4 --optimizer {adam
Dense(3)
~~~
UsageError: %%kmodel: a closing bracket is missing in: net --input 4 --optimizer {adam
===
%%kmodel net --input 4 --optimizer {keras.optimizers.Adam(learning_rat=0.01)}
Dense(3)
~~~
%%kmodel: keras.optimizers.Adam(learning_rat=0.01): TypeError: Adam has no argument `learning_rat`. Did you mean "learning_rate"?
===
%%kmodel net --input 4 --optimizer {1 / 0}
Dense(3)
~~~
%%kmodel: 1 / 0: ZeroDivisionError: division by zero
===
%%kmodel net --input 4 --optimizer 0.01
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --optimizer 0.01
                                             ^^^^
Unknown optimizer "0.01".
===
%%kmodel net --input 4 --learning-rate fast --optimizer adam
Dense(3)
~~~
UsageError: %%kmodel: `fast` is not a number; write one such as 0.01, or an expression in braces, as in {2 * n}.
===
%%kmodel net --input 4 --learning-rate -1 --optimizer adam
Dense(3)
~~~
UsageError: %%kmodel: a learning rate is above 0, not -1.0.
===
%%kmodel net --input 4 --learning-rate 0,1 --optimizer adam
Dense(3)
~~~
UsageError: %%kmodel: `0,1` is not a number; write one such as 0.01, or an expression in braces, as in {2 * n}.
===
%%kmodel net --input 4 --loss categorical_crosentropy
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --loss categorical_crosentropy
                                        ^^^^^^^^^^^^^^^^^^^^^^^
Unknown loss "categorical_crosentropy". Did you mean "categorical_crossentropy"?
===
%%kmodel net --input 4 --loss cross entropy
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `entropy`. Options begin with --, and values hold no spaces.
===
%%kmodel net --input 4 --metrics acuracy --loss mse
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --metrics acuracy --loss mse
                                           ^^^^^^^
Unknown metric "acuracy". Did you mean "accuracy"?
===
%%kmodel net --input 4 --metrics
Dense(3)
~~~
UsageError: %%kmodel: --metrics needs a value after it.
===
%%kmodel net --input 4 --seed abc
Dense(3)
~~~
UsageError: %%kmodel: `abc` is not a whole number; write one such as 3, or an expression in braces, as in {2 * n}.
===
%%kmodel net --input 4 --seed 1.5
Dense(3)
~~~
UsageError: %%kmodel: `1.5` is not a whole number; write one such as 3, or an expression in braces, as in {2 * n}.
===
%%kmodel net --input 4 --seed {"a"}
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --seed {"a"}
                                   ^^^^
`seed` must be an integer, a `keras.random.SeedGenerator` or None, not 'a'.
===
%%kmodel net --input 4 --seed -1
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --seed -1
Seed must be between 0 and 2**32 - 1
===
%%kmodel net --input 4 --loss mse --loss mae
Dense(3)
~~~
UsageError: %%kmodel: --loss is given twice.
===
%%kmodel net --input 4 --seed 1 --seed 2
Dense(3)
~~~
UsageError: %%kmodel: --seed is given twice.
===
%%kmodel net --input 4 --dtype float23
Dense(3)
~~~
%%kmodel net, line 1:  --input 4 --dtype float23
                                         ^^^^^^^
Unknown dtype policy "float23". Did you mean "float32"?
===
%%kmodel net --input 4 --loss auto
Dense(1, activation="softmax")
~~~
%%kmodel net, line 1:  --input 4 --loss auto
softmax over a single unit is always the same; for two classes use Dense(1, activation="sigmoid"), for more one unit for each.
===
%%kmodel net --input 4 --loss auto --target y_train
Dense(1, activation="sigmoid")
~~~
%%kmodel net, line 1:  --input 4 --loss auto --target y_train
The labels of the target go from 0 to 2, and a single sigmoid unit can say 0 or 1; for more classes use Dense(3, activation="softmax").
===
%%kmodel net --input 4 --loss auto --target y_train
Dense(2, activation="softmax")
~~~
%%kmodel net, line 1:  --input 4 --loss auto --target y_train
The labels of the target go from 0 to 2 and the last layer has 2 units, for 0 to 1. Give it 3.
===
%%kmodel net --input 4 --loss auto --target y_trian
Dense(3, activation="softmax")
~~~
UsageError: %%kmodel: `y_trian` is not defined. Did you mean "y_train"?
===
%%kmodel net --input 4 --loss auto --target onehot
Dense(4, activation="softmax")
~~~
%%kmodel net, line 1:  --input 4 --loss auto --target onehot
The target has 3 classes and the last layer 4 units; give it 3.
===
%%kmodel net --input 4 --jti
Dense(3)
~~~
UsageError: %%kmodel has no option --jti. Did you mean "--jit"?
===
%%kmodel net --input 4 -x 3
Dense(3)
~~~
UsageError: %%kmodel has no option -x.
===
%%kmodel net --input 4 —optimizer adam
Dense(3)
~~~
UsageError: %%kmodel: there is no option —optimizer. Did you mean "--optimizer"?
===
%%kmodel net -input 4
Dense(3)
~~~
UsageError: %%kmodel: there is no option -input. Did you mean "--input"?
===
%%kmodel net -- input 4
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `input`. Did you mean "--input"?
===
%%kmodel net input=4
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `input=4`. Did you mean "--input"?
===
%%kmodel net 4
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `4`. Options begin with --, and values hold no spaces.
===
%%kmodel net --input 4 --epochs 3
Dense(3)
~~~
UsageError: %%kmodel has no option --epochs. %kfit has it.
===
%%kmodel net --input 4 --input y=3
Dense(3)
~~~
UsageError: %%kmodel: several inputs need names: --input name1=4 --input y=3
===
%%kmodel net --input class=3
Dense(3)
~~~
UsageError: %%kmodel: `class` is a word of Python; give the input another name.
===
%%kmodel net --input a=4 --input a=3
Dense(3)
~~~
UsageError: %%kmodel: `a` is given twice; give the input another name.
===
%%kmodel net --input 4 # a comment
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `#`. Options begin with --, and values hold no spaces.
===
%%kmodel net --input {4, 5
Dense(3)
~~~
UsageError: %%kmodel: a closing bracket is missing in: net --input {4, 5
===
%%kmodel net --input 'x_train
Dense(3)
~~~
UsageError: %%kmodel: ' is missing in: net --input 'x_train
===
%%kmodel net --keep yes --input 4
Dense(3)
~~~
UsageError: %%kmodel does not know what to do with `yes`. Options begin with --, and values hold no spaces.
===
%kmodel net --input 4
~~~
UsageError: %%kmodel, with two %, is the first line of a cell; the layers follow below it. %%kmodel --help lists its options.
===
Dense(3)
~~~
---------------------------------------------------------------------------
NameError                                 Traceback (most recent call last)
Cell In[1], line 1
----> 1 Dense(3)

NameError: name 'Dense' is not defined
===
%kfit clf x_train y_bad
~~~
%kfit: SparseCategoricalCrossentropy: `y` holds the label 7, but the model has 3 outputs, so labels must be 0 to 2. The last layer would need 8 units.
===
%kfit clf x_train onehot
~~~
%kfit: SparseCategoricalCrossentropy: `y` must hold one class number for each sample, shape (batch,), not (batch, 3). For one-hot codes as targets use categorical_crossentropy.
===
%kfit clf x_train y_train[:9]
~~~
%kfit: all arrays must have the same number of rows, but x has 60, y has 9.
===
%kfit clf x_train[:, :3] y_train
~~~
%kfit: Model `clf` expects inputs of shape (None, 4) and got (32, 3).
===
%kfit clf x_train
~~~
%kfit: `y` is missing, the targets that the loss sparse_categorical_crossentropy compares the outputs with; pass x and y, or batches (x, y).
===
%kfit clff x_train y_train
~~~
UsageError: %kfit: `clff` is not defined. Did you mean "clf"?
===
%kfit clf x_train y_train --epochs three
~~~
UsageError: %kfit: `three` is not a whole number; write one such as 3, or an expression in braces, as in {2 * n}.
===
%kfit clf x_train y_train --epochs 0
~~~
%kfit: `epochs` must be a positive whole number, not 0.
===
%kfit clf x_train y_train --epochs -1
~~~
%kfit: `epochs` must be a positive whole number, not -1.
===
%kfit clf x_train y_train --epochs 1.5
~~~
UsageError: %kfit: `1.5` is not a whole number; write one such as 3, or an expression in braces, as in {2 * n}.
===
%kfit clf x_train y_train --batch-size 0
~~~
%kfit: `batch_size` must be a positive whole number, not 0.
===
%kfit clf x_train y_train --validation 20
~~~
%kfit: `validation_split` must be a number from 0 to 1, such as 0.2, below 1, not 20.0.
===
%kfit clf x_train y_train --validation 1.5
~~~
%kfit: `validation_split` must be a number from 0 to 1, such as 0.2, below 1, not 1.5.
===
%kfit clf x_train y_train --validation x_train
~~~
%kfit: fit, validation data: `y` is missing, the targets that the loss sparse_categorical_crossentropy compares the outputs with; pass x and y, or batches (x, y).
===
%kfit clf x_train y_train --verbose loud
~~~
%kfit: `verbose` must be "auto", 0 (silent), 1 (a moving line) or 2 (a line for each epoch), not 'loud'.
===
%kfit clf texts y_train
~~~
%kfit: `x` holds <U1 data and models compute with numbers. Call TextVectorization or StringLookup on it first, or begin a Sequential or functional model with them.
===
%kfit clf frame y_train
~~~
%kfit: the column `name` of `x` has the dtype str, which is no number. Turn it into numbers (for categories, .cat.codes in pandas and .to_physical() in polars), leave it out, or pass dict(frame) to a model with an input for each column.
===
%kfit clf x_train texts
~~~
%kfit: `y` holds <U1 data and models compute with numbers. Turn text labels into numbers with np.unique(labels, return_inverse=True)[1].
===
%kfit bare x_train y_train
~~~
%kfit: the model must be compiled first: model.compile(optimizer="adam", loss=...).
===
%kfit sig x_train y_train
~~~
%kfit: BinaryCrossentropy: `y` holds 2, but targets must be 0 or 1, or lie between; for several classes use sparse_categorical_crossentropy.
===
%kfit reg x_train y_train
~~~
UsageError: %kfit: `reg` is not defined. Did you mean "rng"?
===
%kfit clf nans y_train
~~~
%kfit: `x` holds NaN or infinity in 60 of 60 rows, the first is row 0, which makes the loss NaN. Replace these values or drop the rows (np.nan_to_num, DataFrame.dropna); nothing was changed.
===
%kfit clf x_train y_train --learning-rate {"a"}
~~~
%kfit: Adam: `learning_rate` must be a number, a schedule from keras.optimizers.schedules, or a function without arguments, not 'a'.
===
%kinspect clf dense_9
~~~
%kinspect: Model `clf` has no layer `dense_9`. Did you mean "dense_1"? Its layers are ['input_layer', 'dense', 'dense_1'].
===
%kinspect clff
~~~
UsageError: %kinspect: `clff` is not defined. Did you mean "clf"?
===
%kinspect clf --on x_trian
~~~
UsageError: %kinspect: `x_trian` is not defined. Did you mean "x_train"?
===
%kinspect clf --on images
~~~
%kinspect: Model `functional` expects inputs of shape (None, 4) and got (20, 28, 28).
===
%kmistakes clf x_train
~~~
UsageError: %kmistakes: Y must be given; --help shows how.
===
%kmistakes clf x_train y_train --worst many
~~~
UsageError: %kmistakes: `many` is not a whole number; write one such as 3, or an expression in braces, as in {2 * n}.
===
%kmistakes sig x_train y_train
~~~
%kmistakes: `y` holds the class 2 and `sig` tells the classes 0 to 1 apart.
===
%kmistakes clf x_train y_bad
~~~
%kmistakes: `y` holds the class 7 and `clf` tells the classes 0 to 2 apart.
===
%kinfo --gpu
~~~
UsageError: %kinfo has no option --gpu.
===
clf.fit(x_train, y_bad)
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.fit(x_train, y_bad)

ValueError: SparseCategoricalCrossentropy: `y` holds the label 7, but the model has 3 outputs, so labels must be 0 to 2. The last layer would need 8 units.
===
clf.fit(x_train, y_train, epoch=3)
~~~
---------------------------------------------------------------------------
TypeError                                 Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.fit(x_train, y_train, epoch=3)

TypeError: fit has no argument `epoch`. Did you mean "epochs"?
===
clf(x_train[:, :3])
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf(x_train[:, :3])

ValueError: Model `clf` expects inputs of shape (None, 4) and got (60, 3).
===
clf.predict(texts)
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.predict(texts)

ValueError: predict: `x` holds <U1 data and models compute with numbers. Call TextVectorization or StringLookup on it first, or begin a Sequential or functional model with them.
===
clf.get_layer("dens")
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.get_layer("dens")

ValueError: Model `clf` has no layer `dens`. Did you mean "dense"? Its layers are ['input_layer', 'dense', 'dense_1'].
===
clf.compile(optimizer="adma")
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.compile(optimizer="adma")

ValueError: Unknown optimizer "adma". Did you mean "adam"?
===
bare.fit(x_train, y_train)
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 bare.fit(x_train, y_train)

ValueError: fit: the model must be compiled first: model.compile(optimizer="adam", loss=...).
===
clf.evaluate(x_train, onehot)
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 clf.evaluate(x_train, onehot)

ValueError: SparseCategoricalCrossentropy: `y` must hold one class number for each sample, shape (batch,), not (batch, 3). For one-hot codes as targets use categorical_crossentropy.
===
%%kmodel net --input 4
# layers come here

~~~
%%kmodel net, line 1:  --input 4
The cell is empty.
Write layers in it, each on a line of its own, as in Dense(10).
===
%%kmodel net
~~~
%%kmodel net, line 1:
The cell is empty.
Write layers in it, each on a line of its own, as in Dense(10).
===
%%kmodel net --input 4
Dense(10**10)
~~~
%%kmodel net, line 2:  Dense(10**10)
                       ^^^^^
Dense: variable `dense/kernel` of shape (4, 10000000000) would take 149.01 GB, and this machine has 9.99 GB free. Make the layer, or what it gets, smaller, or delete models you do not need.
===
%%kmodel net --input 224,224,3
Conv2D(64, 3)
Flatten()
Dense(10_000_000)
~~~
%%kmodel net, line 4:  Dense(10_000_000)
                       ^^^^^
Dense: variable `dense/kernel` of shape (3154176, 10000000) would take 114.75 TB, and this machine has 9.99 GB free. Make the layer, or what it gets, smaller, or delete models you do not need.
===
%%kmodel net --input 4
Dense(3, use_bias="no")
~~~
%%kmodel net, line 2:  Dense(3, use_bias="no")
                                ^^^^^^^^
Dense: `use_bias` must be True or False, not 'no'.
===
%%kmodel net --input 10,4
LSTM(3, return_sequences="False")
~~~
%%kmodel net, line 2:  LSTM(3, return_sequences="False")
                               ^^^^^^^^^^^^^^^^
LSTM: `return_sequences` must be True or False, not 'False'.
===
%%kmodel net --input 4
Dense(3, "relu", 5)
~~~
%%kmodel net, line 2:  Dense(3, "relu", 5)
                                        ^
Dense: `use_bias` must be True or False, not 5.
===
%%kmodel net --input 4
Dense(3)(x, 5)
~~~
%%kmodel net, line 2:  Dense(3)(x, 5)
                       ^^^^^
Dense was called on a tensor and 5; a call takes tensors, and settings belong where the layer is made.
===
%%kmodel net --input 4
x = Dense(3)(x, "relu")
~~~
%%kmodel net, line 2:  x = Dense(3)(x, "relu")
                                        ^^^^
Dense was called on a tensor and 'relu'; a call takes tensors, and settings belong where the layer is made.
===
%%kmodel net --input 4
x = clf(x, 3)
~~~
%%kmodel net, line 2:  x = clf(x, 3)
                           ^^^
Functional `clf` was called on a tensor and 3; a call takes tensors, and settings belong where the layer is made.
===
%%kmodel net --input 4
Dense(3, input_shape=(5,))
~~~
%%kmodel net, line 2:  Dense(3, input_shape=(5,))
                       ^^^^^
Dense has input_shape=(5,), but its input has the shape (None, 4), the batch first.
Leave input_shape out: the layer goes by its input.
===
%%kmodel net --input images
x = Flatten(input_shape=(28, 28, 1))(x)
~~~
%%kmodel net, line 2:  x = Flatten(input_shape=(28, 28, 1))(x)
                           ^^^^^^^
Flatten has input_shape=(28, 28, 1), but its input has the shape (None, 28, 28), the batch first.
Leave input_shape out: the layer goes by its input.
===
%%kmodel net --input 4
x = Dense(3, input_dim=5)(x)
~~~
%%kmodel net, line 2:  x = Dense(3, input_dim=5)(x)
                           ^^^^^
Dense has input_shape=(5,), but its input has the shape (None, 4), the batch first.
Leave input_shape out: the layer goes by its input.
===
%%kmodel net --input 4
Dense(8)
Dense(4)(x)
side = ReLU()(x)
Dense(3)
~~~
%%kmodel net, line 4:  side = ReLU()(x)
Nothing uses what Dense and ReLU made on lines 3 and 4, so it is no part of the model.
x = ... would go on with it; leave the line out if it is not needed.
<Functional name=net, built=True>
===
%%kmodel net --input 4
for i in range(3):
    keras.ops.sin(x)
    Dense(3)
~~~
%%kmodel net, line 3:  keras.ops.sin(x)
Nothing uses what sin made here.
x = ... would go on with it; leave the line out if it is not needed.
<Functional name=net, built=True>
===
forgot.fit(x_train[:, :, None] * x_train[:, None], y_train)
~~~
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[1], line 1
----> 1 forgot.fit(x_train[:, :, None] * x_train[:, None], y_train)

ValueError: SparseCategoricalCrossentropy: `y` must hold one class number for each sample, shape (batch, 4), not (batch,). The model answers for each of 4 places; to answer once, put Flatten() before the last Dense, or a global pooling.
===
%kfit forgot {np.zeros((60, 4, 4))} onehot
~~~
%kfit: SparseCategoricalCrossentropy: `y` must hold one class number for each sample, shape (batch, 4), not (batch, 3). The model answers for each of 4 places; to answer once, put Flatten() before the last Dense, or a global pooling.
"""  # noqa: E501


def rows(table: str) -> list[tuple[str, str]]:
    """The cells of a table and their answers."""
    parts = (part.partition("\n~~~\n") for part in table.strip("\n").split("\n===\n"))
    return [(cell, answer) for cell, _, answer in parts]
